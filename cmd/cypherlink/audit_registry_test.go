package main

import (
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
)

// changed makes a copy of a chain with the changes, one a block.
func changed(t *testing.T, n *chaintest.Network, changes ...chain.Change) *replica {
	t.Helper()
	store := state.NewMemory()
	s, err := state.Open(store, n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	n.SetRoots(t, s.Header().Roots)
	qc := n.Committee.Genesis()
	for _, c := range changes {
		certified := n.Change(t, s.Final().Registry(), c)
		tx := state.NewTransaction(state.RegistryChange{Certified: certified})
		at := s.Header().TimeMS + 1000
		built, err := s.Build(s.Final(), s.Header().Height+1, at, []*state.Transaction{tx})
		if err != nil || len(built.LeftOut) > 0 {
			t.Fatal(err, built.LeftOut)
		}
		block := n.Block(qc, at, built.Payload, built.Version.Roots())
		qc = n.Certify(t, block.Header)
		proof := chain.FinalityProof{Headers: []chain.Header{block.Header}, QC: qc}
		if err := s.Commit(built.Version, state.Final{Block: block, Proof: proof}); err != nil {
			t.Fatal(err)
		}
	}
	return &replica{folder: "changed", store: store, state: s, member: -1}
}

func TestTheRegistryIsWhatTheEventsSay(t *testing.T) {
	n := chaintest.New(t, nil)
	w := n.World
	enters, _, _ := chaintest.Newcomer(t, "a new bank", chain.RoleBank)
	a := &audit{genesis: n.Genesis}
	r := changed(t, n, &chain.Register{Participant: enters}, &chain.Suspend{ID: w.Alice.ID},
		&chain.SetPolicy{Asset: w.Asset}, &chain.Resume{ID: w.Alice.ID}, &chain.Suspend{ID: w.Bob.ID})
	if err := a.check(r); err != nil {
		t.Fatal(err)
	}
	if len(r.changes) != 5 {
		t.Fatalf("%d changes", len(r.changes))
	}
	whole := r.changes
	with := func(i int, edit func(e *state.Event, f *state.RegistryFact)) []*state.Event {
		all := slices.Clone(whole)
		e := *all[i]
		f := e.Fact.(state.RegistryFact)
		edit(&e, &f)
		e.Fact = f
		all[i] = &e
		return all
	}
	for _, tt := range []struct {
		name    string
		changes []*state.Event
		want    string
	}{
		{"whole", whole, ""},
		{"the last is missing", whole[:4], "participant " + w.Bob.ID.String()},
		{"the first is missing", whole[1:], "version 2 of the registry: the state"},
		{"none", nil, "participant "},
		{"one is twice", append(slices.Clone(whole), whole[4]), "a change that is not allowed"},
		{"two in another order", []*state.Event{whole[1], whole[0], whole[2], whole[3], whole[4]}, "version 2"},
		{"one is of another participant", with(4, func(_ *state.Event, f *state.RegistryFact) {
			f.Change = &chain.Suspend{ID: w.Mallory.ID}
		}), "version 5 of the registry: the state"},
		{
			"one is in another block", with(4, func(e *state.Event, _ *state.RegistryFact) { e.Height++ }),
			"participant " + w.Bob.ID.String(),
		},
		{"one is of a stranger", with(4, func(_ *state.Event, f *state.RegistryFact) {
			f.Change = &chain.Suspend{ID: cypherlink.ParticipantID{1}}
		}), "a change that is not allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.changes = tt.changes
			finds(t, r.checkRegistry(n.Genesis), tt.want)
		})
	}
	r.changes = whole[4:] // as if the feed told of it twice
	finds(t, a.check(r), "version 5 of the registry: the state")
	// Nobody enters, and nothing is decided, without a word of it.
	r = changed(t, n, &chain.Register{Participant: enters})
	finds(t, r.checkRegistry(n.Genesis), "the registry is at version 1")
	policy, _ := n.Genesis.Registry().Policy(w.Asset)
	r = changed(t, n, &chain.SetPolicy{Asset: w.Asset, Policy: policy})
	finds(t, r.checkRegistry(n.Genesis), "the registry is at version 1")
	fewer := chaintest.New(t, func(f *chain.GenesisFile) {
		f.Participants = f.Participants[:len(f.Participants)-1]
	})
	finds(t, changed(t, n).checkRegistry(fewer.Genesis), "by the events at 0 with")
}
