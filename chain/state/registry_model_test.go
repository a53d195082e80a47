package state_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// person is what the model knows of somebody: the status, and the key that counts.
type person struct {
	status ledger.Status
	until  int64
	key    ledgertest.Actor
}

// people is the model of a registry.
type people map[cypherlink.ParticipantID]person

func (p people) statusAt(id cypherlink.ParticipantID, seconds int64) ledger.Status {
	who, ok := p[id]
	switch {
	case !ok:
		return ledger.Unknown
	case who.status == ledger.Active && who.until > 0 && seconds >= who.until:
		return ledger.NotValid
	}
	return who.status
}

// objection is what the registry has against a command at that time, or nothing. by signed it.
func (p people) objection(c *ledger.SignedCommand, by ledgertest.Actor, seconds int64) cypherlink.Code {
	status := p.statusAt(c.Signer, seconds)
	bars := map[ledger.Status]cypherlink.Code{
		ledger.Unknown: ledger.CodeUnknownSigner, ledger.Revoked: ledger.CodeRevoked,
		ledger.Suspended: ledger.CodeSuspended, ledger.NotValid: ledger.CodeNotValid,
	}
	switch {
	case status == ledger.Unknown || status == ledger.Revoked:
		return bars[status]
	case p[c.Signer].key.Key != by.Key:
		return ledger.CodeSignature
	}
	prepare, ok := c.Command.(*ledger.Prepare)
	if !ok {
		return bars[status] // unless it is a party, which the custody says
	}
	if status != ledger.Active {
		return bars[status]
	}
	if p.statusAt(prepare.Subject.Fields.Credit.Owner, seconds) != ledger.Active {
		return ledger.CodePayeeBarred
	}
	counted := 0
	for _, v := range prepare.Verdicts {
		if p.statusAt(v.Validator, seconds) == ledger.Active {
			counted++
		}
	}
	if counted < 2 {
		return ledger.CodeNotApproved
	}
	return ""
}

// stage is a chain, a second one that executes the same blocks, and the model.
type stage struct {
	*fabric
	tb     testing.TB
	store  *state.Memory
	other  *state.State
	deck   deck
	people people
	now    int64
}

// deck is who and what is drawn.
type deck struct {
	cast   []ledgertest.Actor // with the keys by which they are first known
	enters []*chain.Register
	keys   map[cypherlink.ParticipantID]chain.KeySet
	after  map[cypherlink.ParticipantID]ledgertest.Actor // a rotation
}

func newDeck(t testing.TB, w *ledgertest.World) deck {
	d := deck{
		keys:  map[cypherlink.ParticipantID]chain.KeySet{},
		after: map[cypherlink.ParticipantID]ledgertest.Actor{},
	}
	d.cast = []ledgertest.Actor{w.Alice, w.Bob, w.Mallory, w.Validators[0], w.Validators[1]}
	for i := range 2 {
		c, a := newcomer(t, fmt.Sprint("newcomer ", i), chain.RoleBank)
		c.Until = int64(i) * (start + 20)
		d.cast, d.enters = append(d.cast, a), append(d.enters, c)
	}
	for i, a := range d.cast {
		d.keys[a.ID], d.after[a.ID] = chaintest.Keys(t, fmt.Sprint("rotation ", i))
	}
	return d
}

// draw is a change, and what it does to the model if it is made.
func (s *stage) draw(t *rapid.T) (chain.Change, func(p people)) {
	who := rapid.SampledFrom(s.deck.cast).Draw(t, "who")
	set := func(status ledger.Status) func(people) {
		return func(p people) {
			one := p[who.ID]
			one.status = status
			p[who.ID] = one
		}
	}
	switch rapid.IntRange(0, 4).Draw(t, "change") {
	case 0:
		c := rapid.SampledFrom(s.deck.enters).Draw(t, "enters")
		return c, func(p people) {
			at := slices.IndexFunc(s.deck.cast, func(a ledgertest.Actor) bool { return a.ID == c.ID })
			p[c.ID] = person{status: ledger.Active, until: c.Until, key: s.deck.cast[at]}
		}
	case 1:
		return &chain.Rotate{ID: who.ID, KeySet: s.deck.keys[who.ID]}, func(p people) {
			one := p[who.ID]
			one.key = s.deck.after[who.ID]
			p[who.ID] = one
		}
	case 2:
		return &chain.Suspend{ID: who.ID}, set(ledger.Suspended)
	case 3:
		return &chain.Resume{ID: who.ID}, set(ledger.Active)
	default:
		return &chain.Revoke{ID: who.ID}, set(ledger.Revoked)
	}
}

// sign is a command of somebody, by the first or the second key.
func (s *stage) sign(t *rapid.T) (*ledger.SignedCommand, ledgertest.Actor) {
	w := s.World
	p := w.Payment(fmt.Sprint("payment ", rapid.IntRange(0, 3).Draw(t, "payment")), 10, start+40)
	who := rapid.SampledFrom(s.deck.cast).Draw(t, "by")
	var c *ledger.SignedCommand
	switch rapid.IntRange(0, 3).Draw(t, "command") {
	case 0, 1:
		who, c = w.Alice, w.Prepare(p)
		body := c.Command.(*ledger.Prepare)
		for i := range 2 { // each Validator by the key that it has
			v := w.Signed(s.people[w.Validators[i].ID].key, w.Approval(p.Subject))
			v.Validator = w.Validators[i].ID
			body.Verdicts[i] = v
		}
	case 2:
		c = w.Confirm(who, p)
	default:
		c = w.Return(who, p)
	}
	by := who
	if rapid.Bool().Draw(t, "second key") {
		by = s.deck.after[who.ID]
	}
	c.Signer = who.ID
	ledgertest.Resign(by, c)
	return c, by
}

// step is a block of a few changes and commands, each held against the model of the block before.
func (s *stage) step(t *rapid.T) {
	s.now += rapid.Int64Range(1, 9).Draw(t, "wait")
	seconds := int64(start) + s.now
	var txs []*state.Transaction
	var signers []ledgertest.Actor
	next := maps.Clone(s.people)
	registry := s.Final().Registry()
	for range rapid.IntRange(0, 2).Draw(t, "changes") {
		c, does := s.draw(t)
		tx := changeOn(s.tb, s.Network, registry, c)
		amended, err := registry.Amend(registry.Version()+1, c, s.Header().Height+1, seconds)
		if err == nil {
			registry = amended
			does(next)
		}
		txs, signers = append(txs, tx), append(signers, ledgertest.Actor{})
	}
	changes := len(txs)
	for range rapid.IntRange(0, 4).Draw(t, "commands") {
		c, by := s.sign(t)
		txs, signers = append(txs, command(c)), append(signers, by)
	}
	at := seconds * 1000
	if rapid.Bool().Draw(t, "fork") { // a block that never becomes final
		if _, err := s.Build(s.Final(), s.Header().Height+1, at, txs[:changes]); err != nil {
			t.Fatal(err)
		}
	}
	built, err := s.Build(s.Final(), s.Header().Height+1, at, txs)
	if err != nil {
		t.Fatal(err)
	}
	left := map[*state.Transaction]error{}
	for _, l := range built.LeftOut {
		left[l.Transaction] = l.Err
	}
	for i, tx := range txs[changes:] {
		c := tx.Body.(state.Command).Signed
		s.compare(t, c, s.people.objection(c, signers[changes+i], seconds), answer(left[tx]))
	}
	s.close(t, built, at)
	if snapshot(s.Final().Registry()) != snapshot(registry) {
		t.Fatal("the registry is not what the changes make of it")
	}
	s.people = next
}

// compare holds the chain's answer to a command against what the registry has against it.
func (s *stage) compare(t *rapid.T, c *ledger.SignedCommand, want, got cypherlink.Code) {
	if _, ok := c.Command.(*ledger.Prepare); !ok && (c.Signer == s.World.Alice.ID || c.Signer == s.World.Bob.ID) &&
		(want == ledger.CodeSuspended || want == ledger.CodeNotValid) {
		want = "" // it is a party
	}
	first := []cypherlink.Code{ledger.CodeUnknownSigner, ledger.CodeRevoked, ledger.CodeSignature}
	registry := append([]cypherlink.Code{
		ledger.CodeSuspended, ledger.CodeNotValid, ledger.CodePayeeBarred, ledger.CodeNotApproved,
	}, first...)
	switch {
	case got == want:
	case got == "":
		t.Fatalf("%T of %s is in the block, the registry has %s against it", c.Command, c.Signer, want)
	case slices.Contains(registry, got):
		t.Fatalf("%T of %s is refused with %s, the registry has %q against it", c.Command, c.Signer, got, want)
	case slices.Contains(first, want):
		t.Fatalf("%T of %s is refused with %s only, not with %s", c.Command, c.Signer, got, want)
	}
}

// close makes the block final, here and on the other chain, which has seen nothing of it before.
func (s *stage) close(t *rapid.T, built *state.Built, at int64) {
	block := chain.Block{Payload: built.Payload, Header: chain.Header{
		Height: s.Header().Height + 1, TimeMS: at, Parent: chain.Tuple{Block: s.Header().ID()},
		PayloadRoot: built.Payload.Root(), Roots: built.Version.Roots(),
	}}
	again, err := s.other.Execute(s.other.Final(), block.Header, block.Payload)
	if err != nil {
		t.Fatal(err)
	}
	commitAll(t, s.State, []executed{{built.Version, block}})
	commitAll(t, s.other, []executed{{again, block}})
	if rapid.Bool().Draw(t, "restart") {
		if s.State, err = state.Open(s.store, s.Network.Genesis); err != nil {
			t.Fatal(err)
		}
	}
}

// Nobody speaks who is not in the registry at that height: in every order of changes, commands,
// forks and starts. Two executions agree.
func TestNobodySpeaksWhoIsNotInTheRegistry(t *testing.T) {
	n := network(t)
	cards := newDeck(t, n.World)
	rapid.Check(t, func(rt *rapid.T) {
		store := state.NewMemory()
		s := &stage{
			fabric: &fabric{Network: n, State: open(t, store, n)}, tb: t, store: store,
			other: open(t, state.NewMemory(), n), deck: cards, people: people{},
		}
		for _, a := range n.World.Registered() {
			s.people[a.ID] = person{status: ledger.Active, key: a}
		}
		for range rapid.IntRange(1, 8).Draw(rt, "blocks") {
			s.step(rt)
		}
	})
}
