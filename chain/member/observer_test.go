package member_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain/member"
)

// observes makes sure that member 3, which runs, signs nothing, follows, and serves.
func (w *town) observes() {
	w.t.Helper()
	height := w.settle(w.client(0), w.World.Prepare(w.payment(fmt.Sprint("observed ", time.Now()))))
	w.eventually("the observer follows", func() bool { return w.runs[3].Metrics().Height >= height })
	w.eventually("it observes", func() bool { return w.runs[3].Metrics().Observer })
	b, err := fetch(w.client(3), height, patience)
	if err != nil || len(b.Blocks) == 0 {
		w.t.Fatalf("the observer serves %d blocks, %v", len(b.Blocks), err)
	}
	m := w.runs[3].Metrics()
	if m.Votes+m.Proposals+m.Timeouts > 0 {
		w.t.Fatalf("an observer has signed: %+v", m)
	}
	for i, r := range w.runs {
		if r.Metrics().Faults > 0 {
			w.t.Fatalf("member %d has proved a fault", i)
		}
	}
}

// I5: what is missing or damaged makes an observer, at every start again.
func TestAMemberThatLostSomethingObserves(t *testing.T) {
	tests := []struct {
		name string
		lose func(t *testing.T, folder string)
	}{
		{"the whole folder", func(t *testing.T, folder string) { remove(t, folder) }},
		{"the store", func(t *testing.T, folder string) { remove(t, filepath.Join(folder, "store")) }},
		{"the safety record", func(t *testing.T, folder string) {
			remove(t, filepath.Join(folder, "safety"))
		}},
		{"a part of the safety record", func(t *testing.T, folder string) {
			if err := os.Truncate(filepath.Join(folder, "safety"), 4096); err != nil {
				t.Fatal(err)
			}
		}},
	}
	starts := 2
	if testing.Short() {
		starts = 1
	}
	w := found(t, quick())
	w.startAll()
	w.settle(w.client(0), w.World.Prepare(w.payment("before")))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.stop(3)
			kept := t.TempDir()
			copyFolder(t, w.folder(3), kept)
			tt.lose(t, w.folder(3))
			for range starts {
				w.start(3)
				w.observes()
				w.stop(3)
			}
			remove(t, w.folder(3))
			copyFolder(t, kept, w.folder(3))
		})
	}
}

// An old copy of the whole folder is whole and hangs together: only the other members know
// that this key has signed more. The same goes for a folder that was made anew.
func TestAnOldCopyObserves(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	c := w.client(0)
	w.settle(c, w.World.Prepare(w.payment("before the copy")))
	w.stop(3)
	old := t.TempDir()
	copyFolder(t, w.folder(3), old)
	w.start(3)
	for i := range 3 {
		w.settle(c, w.World.Prepare(w.payment(fmt.Sprint("after the copy ", i))))
	}
	w.eventually("the member votes after the copy", func() bool { return w.runs[3].Metrics().Votes > 2 })
	w.stop(3)
	remove(t, w.folder(3))
	copyFolder(t, old, w.folder(3))
	w.start(3)
	w.observes()
	w.stop(3)
	// Its own record says so from now on.
	w.start(3)
	if !w.runs[3].Metrics().Observer {
		t.Fatal("the key is not retired")
	}
	w.observes()
	w.stop(3)
	remove(t, w.folder(3))
	if err := member.Create(w.folder(3), w.Genesis, quiet()); err != nil {
		t.Fatal(err)
	}
	w.start(3)
	w.observes()
}

// I5: a record below the one that the store knows, also after the member has observed.
func TestAnOldRecordBesideANewerStoreObserves(t *testing.T) {
	w := found(t, quick())
	safety := filepath.Join(w.folder(3), "safety")
	old, err := os.ReadFile(safety)
	if err != nil {
		t.Fatal(err)
	}
	w.startAll()
	c := w.client(0)
	for i := range 3 {
		w.settle(c, w.World.Prepare(w.payment(fmt.Sprint(i))))
	}
	w.eventually("the member votes", func() bool { return w.runs[3].Metrics().Height > 2 })
	w.stop(3)
	remove(t, safety)
	w.start(3)
	w.observes()
	w.stop(3)
	if err := os.WriteFile(safety, old, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := member.Open(t.Context(), w.options(3))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if !m.Metrics().Observer {
		t.Fatal("an old record may speak")
	}
}

func TestAFolderHasOneProcess(t *testing.T) {
	w := found(t, quick())
	w.start(0)
	_, err := member.Open(t.Context(), w.options(0))
	self := fmt.Sprint("process ", os.Getpid())
	if !errors.Is(err, member.ErrLocked) || !strings.Contains(err.Error(), self) {
		t.Fatal(err)
	}
	if err := member.Create(w.folder(0), w.Genesis, quiet()); !errors.Is(err, member.ErrLocked) {
		t.Fatal(err)
	}
	w.stop(0)
	w.start(0) // the lock ends with its process
}

func TestCreateForgetsNothing(t *testing.T) {
	w := found(t, quick())
	if err := member.Create(w.folder(0), w.Genesis, quiet()); !errors.Is(err, member.ErrFolder) {
		t.Fatalf("over an empty record: %v", err)
	}
	w.startAll()
	w.settle(w.client(0), w.World.Prepare(w.payment("one")))
	w.eventually("member 1 stores blocks", func() bool { return w.runs[1].Metrics().Height > 0 })
	w.stop(1)
	remove(t, filepath.Join(w.folder(1), "safety"))
	if err := member.Create(w.folder(1), w.Genesis, quiet()); !errors.Is(err, member.ErrFolder) {
		t.Fatalf("beside blocks: %v", err)
	}
	w.stop(2)
	remove(t, filepath.Join(w.folder(2), "store"))
	w.start(2)
	w.stop(2)
	if err := member.Create(w.folder(2), w.Genesis, quiet()); !errors.Is(err, member.ErrFolder) {
		t.Fatalf("beside a record without its store: %v", err)
	}
}

func TestOptions(t *testing.T) {
	w := found(t, quick())
	stranger := identity(t)
	tests := []struct {
		name string
		edit func(o *member.Options)
	}{
		{"no folder", func(o *member.Options) { o.Data = "" }},
		{"no address", func(o *member.Options) { o.Listen = "" }},
		{"no log", func(o *member.Options) { o.Log = nil }},
		{"no genesis", func(o *member.Options) { o.Genesis = nil }},
		{"no key", func(o *member.Options) { o.Key = nil }},
		{"no address of another member", func(o *member.Options) { o.Peers = nil }},
		{"another member's vote key", func(o *member.Options) { o.Key = w.Keys[1] }},
		{"another member's identity", func(o *member.Options) { o.Identity = w.Identities[1] }},
		{"a TLS key that genesis does not know", func(o *member.Options) { o.TLS = stranger }},
		{"no room for a block in the pool", func(o *member.Options) { o.Limits.Bytes = 1000 }},
		{"no room for a call", func(o *member.Options) { o.Limits.Calls = 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := w.options(0)
			tt.edit(&o)
			if _, err := member.Open(t.Context(), o); !errors.Is(err, member.ErrOptions) {
				t.Fatal(err)
			}
		})
	}
	w.startAll()
	w.settle(w.client(0), w.World.Prepare(w.payment("it runs")))
	r := w.runs[0]
	if err := r.Run(t.Context()); !errors.Is(err, member.ErrOptions) {
		t.Fatalf("a second run: %v", err)
	}
	if r.Addr() != w.addrs[w.Committee.KeyBlock().Members[0].ID] {
		t.Fatalf("listens on %s", r.Addr())
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	remove(t, to)
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
