package member_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/validator"
)

// forgetProposals removes the blocks that are not final from a member's store, and tells how many
// there were.
func forgetProposals(t *testing.T, folder string) int {
	t.Helper()
	store, err := state.OpenPebble(filepath.Join(folder, "store"), state.PebbleOptions{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	var gone []state.Write
	err = store.Scan([]byte{0xc1}, []byte{0xc2}, func(key, _ []byte) bool {
		gone = append(gone, state.Write{Key: bytes.Clone(key)})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Write(gone); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return len(gone)
}

// Record and store are written at once: a crash may leave a record that names blocks which the
// store does not have, or a store whose last blocks are lost. The member votes on, the quorum
// needs it, and nobody proves a fault.
func TestAStoreBehindItsRecord(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	c := w.client(0)
	w.settle(c, w.World.Prepare(w.payment("before")))
	w.stop(3)
	older := t.TempDir()
	copyFolder(t, filepath.Join(w.folder(3), "store"), older)
	w.start(3)
	for _, tt := range []struct {
		name string
		lose func(t *testing.T)
	}{
		{"without the blocks that it voted for", func(t *testing.T) {
			if forgetProposals(t, w.folder(3)) == 0 {
				t.Fatal("it has none")
			}
		}},
		{"with the store of some blocks ago", func(t *testing.T) {
			copyFolder(t, older, filepath.Join(w.folder(3), "store"))
		}},
		{"with neither", func(t *testing.T) { // the older store may have no such block
			copyFolder(t, older, filepath.Join(w.folder(3), "store"))
			forgetProposals(t, w.folder(3))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range 2 {
				w.settle(c, w.World.Prepare(w.payment(fmt.Sprint(tt.name, i))))
			}
			w.eventually("the member votes", func() bool { return w.runs[3].Metrics().Votes > 0 })
			w.stop(3)
			tt.lose(t)
			w.start(3)
			w.stop(1) // now the quorum needs it
			w.settle(c, w.World.Prepare(w.payment(tt.name+" with it")))
			w.start(1)
			for i, r := range w.runs {
				if m := r.Metrics(); m.Faults > 0 || m.Observer {
					t.Errorf("member %d: %+v", i, m)
				}
			}
		})
	}
}

// Create that was interrupted begins again; what it leaves half done does not sign.
func TestCreateIsInterrupted(t *testing.T) {
	w := found(t, quick())
	safety := filepath.Join(w.folder(0), "safety")
	record, err := os.ReadFile(safety)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, safety)
	if err := os.WriteFile(safety+".new", record[:len(record)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := member.Open(t.Context(), w.options(0))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Metrics().Observer {
		t.Error("half a folder may sign")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := member.Create(w.folder(0), w.Genesis, quiet()); err != nil {
		t.Fatal(err)
	}
	w.startAll()
	w.stop(1)
	w.settle(w.client(0), w.World.Prepare(w.payment("with it")))
}

// A participant who floods with what no signature holds for has all of it refused, and keeps
// nobody's payment from becoming final.
func TestAFloodOfForgeries(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	each := 100
	if testing.Short() {
		each = 20
	}
	flooded := w.client(0)
	var flood sync.WaitGroup
	for worker := range 4 {
		flood.Go(func() {
			for i := range each {
				p := w.payment(fmt.Sprint("forged ", worker, " ", i))
				c := w.World.Prepare(p)
				body := c.Command.(*ledger.Prepare)
				most := []int{validator.MaxValidators, len(w.World.Validators) + 1}[i%2]
				for n := 2; n < most; n++ {
					v := body.Verdicts[n%2]
					v.Signature[n] ^= 1
					body.Verdicts = append(body.Verdicts, v)
				}
				body.Verdicts = body.Verdicts[1:] // one of two good ones
				ledgertest.Resign(w.World.Alice, c)
				want := ledger.CodeNotApproved
				if i%3 == 0 {
					c.Signature[7] ^= 1
					want = ledger.CodeSignature
				}
				o, err := submit(flooded, 0, c)
				if err != nil || o.Status != follow.Refused || o.Refusal.Code != want {
					t.Errorf("%+v, %v", o, err)
					return
				}
			}
		})
	}
	for i := range 4 {
		w.settle(w.client(1), w.World.Prepare(w.payment(fmt.Sprint("good ", i))))
	}
	flood.Wait()
	w.eventually("the pool is empty", func() bool { return w.runs[0].Metrics().Pool == 0 })
}
