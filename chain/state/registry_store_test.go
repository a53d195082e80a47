package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

func snapshot(r *chain.Registry) string {
	var w wire.Writer
	w.U64(r.Version())
	for _, rec := range r.Records() {
		rec.AppendWire(&w)
	}
	for _, a := range r.Assets() {
		a.AppendWire(&w)
		w.Str(a.Label)
	}
	root := r.Authorities().Root()
	w.Fixed(root[:])
	return string(w.Bytes())
}

// history commits one change of each kind, and gives what the registry was after each height.
func (f *fabric) history(t testing.TB) []string {
	t.Helper()
	were := []string{snapshot(f.Final().Registry())}
	all := changes(t, f)
	all[4] = &chain.Revoke{ID: f.World.Mallory.ID}
	for i, c := range all {
		f.blockOf(t, int64(i+1), f.change(t, c))
		were = append(were, snapshot(f.Final().Registry()))
	}
	return were
}

func TestTheRegistryOutlivesAStart(t *testing.T) {
	store := state.NewMemory()
	f := weave(t, store)
	were := f.history(t)
	again := open(t, store, f.Network)
	if got := snapshot(again.Final().Registry()); got != were[len(were)-1] || snapshot(again.Registry().Registry) != got {
		t.Fatal("the registry is another one after a start")
	}
	f.State = again
	f.refuses(t, 20, command(f.World.Confirm(f.World.Mallory, f.World.Payment("x", 1, start+60))), ledger.CodeRevoked)
	f.blockOf(t, 20, f.change(t, &chain.Suspend{ID: f.World.Bob.ID}))
}

// Whoever edits the registry in the store, or takes somebody out of it, is found out at the start.
func TestADamagedRegistry(t *testing.T) {
	w := network(t).World
	key := func(key []byte) []byte { return append([]byte{'s'}, key...) }
	for name, edit := range map[string]func(f *fabric, store *state.Memory) []state.Write{
		"a record is edited": func(_ *fabric, store *state.Memory) []state.Write {
			k := key(state.ParticipantKey(w.Alice.ID))
			value, _, _ := store.Get(k)
			return []state.Write{{Key: k, Value: bytes.Replace(value, w.Alice.Key[:], w.Mallory.Key[:], 1)}}
		},
		"a record is missing": func(*fabric, *state.Memory) []state.Write {
			return []state.Write{{Key: key(state.ParticipantKey(w.Bob.ID))}}
		},
		"a record is too many": func(_ *fabric, store *state.Memory) []state.Write {
			value, _, _ := store.Get(key(state.ParticipantKey(w.Alice.ID)))
			return []state.Write{{Key: key(state.ParticipantKey(w.Stranger.ID)), Value: value}}
		},
		"a record is in another's place": func(f *fabric, store *state.Memory) []state.Write {
			value, _, _ := store.Get(key(state.ParticipantKey(w.Bob.ID)))
			var id cypherlink.ParticipantID
			for p := (&state.Proof{Key: []byte{0}}); p.Key[0] != state.ParticipantKey(id)[0]; {
				id[0]++ // until the search for it ends at a participant
				var err error
				if p, err = f.Prove(state.ParticipantKey(id)); err != nil {
					t.Fatal(err)
				}
			}
			return []state.Write{
				{Key: key(state.ParticipantKey(w.Bob.ID))}, {Key: key(state.ParticipantKey(id)), Value: value},
			}
		},
		"a policy is edited": func(_ *fabric, store *state.Memory) []state.Write {
			value, _, _ := store.Get(key(state.AssetKey(w.Free)))
			return []state.Write{{Key: key(state.AssetKey(w.Asset)), Value: value}}
		},
		"an asset is missing": func(*fabric, *state.Memory) []state.Write {
			return []state.Write{{Key: key(state.AssetKey(w.Free))}}
		},
		"the census is edited": func(*fabric, *state.Memory) []state.Write {
			return []state.Write{{Key: key([]byte{0x10}), Value: make([]byte, 16)}}
		},
		"the census is missing": func(*fabric, *state.Memory) []state.Write { return []state.Write{{Key: key([]byte{0x10})}} },
	} {
		t.Run(name, func(t *testing.T) {
			store := state.NewMemory()
			f := weave(t, store)
			f.history(t)
			if err := store.Write(edit(f, store)); err != nil {
				t.Fatal(err)
			}
			if _, err := state.Open(store, f.Network.Genesis); !errors.Is(err, state.ErrStore) {
				t.Fatalf("opened: %v", err)
			}
		})
	}
}

// A proof of what somebody was, by the header of then, holds for good.
func TestProofsOfThePast(t *testing.T) {
	f := weave(t, state.NewMemory())
	id := f.World.Bob.ID
	type shown struct {
		root  cypherlink.Hash
		proof *state.Proof
		want  ledger.Status
	}
	var all []shown
	show := func(want ledger.Status) {
		t.Helper()
		proof, err := f.Prove(state.ParticipantKey(id))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, shown{f.Header().Roots.State, proof, want})
	}
	show(ledger.Active)
	f.blockOf(t, 1, f.change(t, &chain.Suspend{ID: id}))
	show(ledger.Suspended)
	certified := f.change(t, &chain.Revoke{ID: id})
	f.blockOf(t, 2, certified)
	show(ledger.Revoked)
	for i, s := range all {
		value, ok, err := s.proof.Verify(s.root, state.ParticipantKey(id))
		if err != nil || !ok {
			t.Fatal(err)
		}
		if rec, err := state.DecodeRecord(value); err != nil || rec.Status != s.want {
			t.Fatalf("%+v, %v", rec, err)
		}
		if _, _, err := s.proof.Verify(all[(i+1)%len(all)].root, state.ParticipantKey(id)); err == nil {
			t.Fatal("a proof holds by another block")
		}
	}
	hash := certified.Body.(state.RegistryChange).Certified.Hash()
	proof, err := f.Prove(state.ChangeKey(2))
	if err != nil {
		t.Fatal(err)
	}
	if value, ok, err := proof.Verify(all[2].root, state.ChangeKey(2)); err != nil || !ok || !bytes.Equal(value, hash[:]) {
		t.Fatalf("%x, %v", value, err)
	}
	if _, err := state.DecodeRecord(hash[:]); !errors.Is(err, state.ErrRecord) {
		t.Fatal(err)
	}
}

// The feed's facts make the registry of every height out of that of genesis.
func TestTheFeedTellsTheRegistry(t *testing.T) {
	f := weave(t, state.NewMemory())
	were := f.history(t)
	r := f.Network.Genesis.Registry()
	for i := range f.Header().Roots.FeedSize {
		e, err := f.EventAt(i)
		if err != nil {
			t.Fatal(err)
		}
		fact := e.Fact.(state.RegistryFact)
		if _, ok := e.Custody(); ok {
			t.Fatal("a change is taken for a custody")
		}
		if r, err = r.Amend(fact.Version, fact.Change, e.Height, e.TimeMS/1000); err != nil {
			t.Fatal(err)
		}
		if snapshot(r) != were[e.Height] {
			t.Fatalf("by the facts it is another one at height %d", e.Height)
		}
	}
	index, err := f.LatestEvent(chain.AssetSubject(f.World.Asset))
	if e, _ := f.EventAt(index); err != nil || fmt.Sprintf("%T", e.Fact.(state.RegistryFact).Change) != "*chain.SetPolicy" {
		t.Fatalf("%d, %v", index, err)
	}
}
