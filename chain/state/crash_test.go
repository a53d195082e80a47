package state_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

func options(t testing.TB) state.PebbleOptions { return state.OptionsFor(t) }

const folder = "store"

func openOn(t testing.TB, fs vfs.FS) (*state.Pebble, error) {
	t.Helper()
	return state.OpenPebble(folder, options(t).On(fs))
}

// probe is a store on a crashable disk that photographs it in the middle of every write.
type probe struct {
	*state.Pebble
	disk   *vfs.MemFS
	photos []*vfs.MemFS
	random *rand.Rand
}

func (p *probe) Write(writes []state.Write) error {
	done := make(chan error)
	go func() { done <- p.Pebble.Write(writes) }()
	for {
		p.photos = append(p.photos, p.disk.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: p.random.IntN(101), RNG: p.random,
		}))
		select {
		case err := <-done:
			p.photos = append(p.photos, p.disk.CrashClone(vfs.CrashCloneCfg{}))
			return err
		default:
		}
	}
}

// A power cut at any moment leaves the state before the block or the one after it, whole; and
// what Commit has returned from stays.
func TestPowerCuts(t *testing.T) {
	disk := vfs.NewCrashableMem()
	store, err := openOn(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	p := &probe{Pebble: store, disk: disk, random: rand.New(rand.NewPCG(1, 2))}
	f := weave(t, p)
	headers := []chain.Header{f.Header()}
	p.photos = nil
	w := f.World
	blocks := 12
	if testing.Short() {
		blocks = 4
	}
	for i := range blocks {
		pay := w.Payment(fmt.Sprint(i), 10, start+900)
		commands := []*ledger.SignedCommand{w.Prepare(pay)}
		if i%3 == 1 {
			commands = append(commands, w.Confirm(w.Bob, pay))
		}
		before := uint64(i)
		f.block(t, int64(i+1), commands...)
		headers = append(headers, f.Header())
		for j, photo := range p.photos {
			after := openPhoto(t, f, photo)
			last := j == len(p.photos)-1
			if h := after.height; h != before && h != before+1 || last && h != before+1 {
				t.Fatalf("photo %d of %d at height %d: the store has %d", j, len(p.photos), before+1, h)
			}
			if after.header != headers[after.height] {
				t.Fatalf("height %d has another header", after.height)
			}
		}
		p.photos = nil
	}
}

type reopened struct {
	height uint64
	header chain.Header
}

// openPhoto opens what a power cut left, checks that it is whole, and goes on from there.
func openPhoto(t *testing.T, f *fabric, photo *vfs.MemFS) reopened {
	t.Helper()
	store, err := openOn(t, photo)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := open(t, store, f.Network)
	checkWhole(t, s)
	next, err := s.Build(s.Final(), s.Header().Height+1, s.Header().TimeMS+1, transactions(
		f.World.Prepare(f.World.Payment("after", 1, start+950))))
	if err != nil || len(next.Payload) != 1 {
		t.Fatalf("the chain does not go on: %v", err)
	}
	return reopened{s.Header().Height, s.Header()}
}

// checkWhole reads everything that the state should hold.
func checkWhole(t *testing.T, s *state.State) {
	t.Helper()
	balances, err := s.Balances()
	if err != nil {
		t.Fatal(err)
	}
	total, custodies := 0, 0
	for _, b := range balances {
		total += int(b.Amount)
	}
	if err := s.Custodies(func(c ledger.Custody) bool {
		custodies++
		if c.State == ledger.Prepared {
			total += int(c.Leg().Amount)
		}
		proof, err := s.Prove(state.CustodyKey(c.ID))
		if err != nil {
			t.Fatal(err)
		}
		_, ok, err := proof.Verify(s.Header().Roots.State, state.CustodyKey(c.ID))
		if err != nil || !ok {
			t.Fatalf("custody %s is not under the root: %v", c.ID, err)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if total != 6*int(ledgertest.Opening) {
		t.Fatalf("%d in all", total)
	}
	for i := range s.Header().Roots.FeedSize {
		if _, err := s.EventAt(i); err != nil {
			t.Fatal(err)
		}
		if _, err := s.EventPath(i, s.Header().Roots.FeedSize); err != nil {
			t.Fatal(err)
		}
	}
	for h := range s.Header().Height + 1 {
		if _, err := s.BlockAt(h); err != nil {
			t.Fatal(err)
		}
	}
}

// Pebble cuts a damaged end off its log without a word. Whatever is damaged, the store is
// refused, or it opens at a state that was final, whole.
func TestDamagedLog(t *testing.T) {
	disk := vfs.NewCrashableMem()
	store, err := openOn(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	f := weave(t, store)
	headers := []chain.Header{f.Header()}
	for i := range 6 {
		f.block(t, int64(i+1), f.World.Prepare(f.World.Payment(fmt.Sprint(i), 10, start+900)))
		headers = append(headers, f.Header())
	}
	image := disk.CrashClone(vfs.CrashCloneCfg{})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	log := lastLog(t, image)
	size := len(readAll(t, image, log))
	tries := 160
	if testing.Short() {
		tries = 24
	}
	rolledBack, refused := 0, 0
	random := rand.New(rand.NewPCG(3, 4))
	for i := range tries {
		hurt := image.CrashClone(vfs.CrashCloneCfg{})
		content := readAll(t, hurt, log)
		at := random.IntN(size)
		if i%2 == 0 {
			content = content[:at]
		} else {
			content[at] ^= byte(1 + random.IntN(255))
		}
		writeAll(t, hurt, log, content)
		store, err := openOn(t, hurt)
		if err != nil {
			refused++
			continue
		}
		s, err := state.Open(store, f.Network.Genesis)
		switch {
		case errors.Is(err, state.ErrStore):
			refused++
		case err != nil:
			t.Fatal(err)
		default:
			checkWhole(t, s)
			if s.Header() != headers[s.Header().Height] {
				t.Fatal("the store opens at a state that was never final")
			}
			if s.Header().Height < 6 {
				rolledBack++
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if rolledBack == 0 {
		t.Fatalf("%d of %d refused, none rolled back: the damage missed the log", refused, tries)
	}
}

func lastLog(t *testing.T, fs vfs.FS) string {
	t.Helper()
	names, err := fs.List(folder)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if strings.HasSuffix(name, ".log") {
			return fs.PathJoin(folder, name)
		}
	}
	t.Fatalf("no log among %v", names)
	return ""
}

func readAll(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	file, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeAll(t *testing.T, fs vfs.FS, name string, content []byte) {
	t.Helper()
	file, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// What has begun is seen at once and durable when the wait is over.
func TestBegin(t *testing.T) {
	disk := vfs.NewCrashableMem()
	store, err := openOn(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var waits []func() error
	for i := range byte(9) {
		wait, err := store.Begin([]state.Write{{Key: []byte{0xc0, i}, Value: []byte{i}}})
		if err != nil {
			t.Fatal(err)
		}
		if value, ok, err := store.Get([]byte{0xc0, i}); err != nil || !ok || value[0] != i {
			t.Fatalf("%x, %t, %v", value, ok, err)
		}
		waits = append(waits, wait)
	}
	for i, wait := range waits {
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		after, err := openOn(t, disk.CrashClone(vfs.CrashCloneCfg{}))
		if err != nil {
			t.Fatal(err)
		}
		for j := range i + 1 {
			if _, ok, err := after.Get([]byte{0xc0, byte(j)}); err != nil || !ok {
				t.Fatalf("write %d is lost after wait %d: %v", j, i, err)
			}
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Two processes on one folder would write two histories.
func TestOneProcessAFolder(t *testing.T) {
	where := t.TempDir()
	first, err := state.OpenPebble(where, options(t))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := state.OpenPebble(where, options(t)); err == nil {
		second.Close()
		t.Fatal("opened twice")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
}
