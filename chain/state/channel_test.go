package state_test

import (
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// banking is a fabric with a channel between two of its banks.
type banking struct {
	*fabric
	t        testing.TB
	banks    [2]ledgertest.Actor // sides A and B
	id       channels.ID
	sequence uint64
	counter  uint64
	second   int64
}

func newBanking(t testing.TB, store state.Store) *banking {
	t.Helper()
	f := weave(t, store)
	b := &banking{fabric: f, t: t, banks: f.Banks()}
	b.id = channels.NewID(f.World.Network, b.parties(), f.World.Asset, 1)
	return b
}

func (b *banking) parties() [2]cypherlink.ParticipantID {
	return [2]cypherlink.ParticipantID{b.banks[0].ID, b.banks[1].ID}
}

// act is a signed action.
func (b *banking) act(by ledgertest.Actor, a channels.Action) *state.Transaction {
	b.sequence++
	return state.NewTransaction(state.ChannelAction{Signed: b.Act(by, b.sequence, a)})
}

// joint is a joint action, signed by those of the signers.
func (b *banking) joint(j channels.Joint, by ...int) *state.Transaction {
	b.t.Helper()
	b.counter++
	j.Channel, j.Counter = b.id, b.counter
	if j.ValidUntil == 0 {
		j.ValidUntil = start + b.second + 20
	}
	roster, err := state.JointRoster(b.Final().Registry(), b.parties(), b.World.Asset)
	if err != nil {
		b.t.Fatal(err)
	}
	c := b.Cosign(b.t, roster, j, by...)
	return state.NewTransaction(state.ChannelJoint{Joint: j, Certificate: c})
}

func (b *banking) opening() channels.Joint { return channels.Joint{Do: b.Open(1)} }

// makes commits a block of these a second later, and finds the same in all.
func (b *banking) makes(txs ...*state.Transaction) *state.Version {
	b.t.Helper()
	b.second++
	v := b.blockOf(b.t, b.second, txs...)
	b.conserved()
	return v
}

func (b *banking) wait(seconds int64) {
	b.t.Helper()
	for range seconds {
		b.makes()
	}
}

// conserved: an asset's accounts, custodies and channels add up.
func (b *banking) conserved() {
	b.t.Helper()
	total := int64(0)
	balances, err := b.Balances()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, x := range balances {
		if x.Asset == b.World.Asset {
			total += int64(x.Amount)
		}
	}
	if err := b.Channels(func(c *channels.Channel) bool { total += c.Total(); return true }); err != nil {
		b.t.Fatal(err)
	}
	if total != 3*int64(ledgertest.Opening) {
		b.t.Fatalf("%d in all", total)
	}
}

func (b *banking) channel() *channels.Channel {
	b.t.Helper()
	c, ok, err := b.Channel(b.id)
	if err != nil || !ok {
		b.t.Fatal(ok, err)
	}
	return c
}

func (b *banking) opened() {
	b.t.Helper()
	b.makes(b.joint(b.opening(), 0, 1, 2, 3))
	b.makes(
		b.act(b.banks[0], channels.Fund{Channel: b.id, Amount: 1000, Number: 1}),
		b.act(b.banks[1], channels.Fund{Channel: b.id, Amount: 500, Number: 1}),
	)
}

// certificate is one of lane A.
func (b *banking) certificate(gen, seq uint32, paid cypherlink.Amount, locks ...channels.Lock) *channels.Certificate {
	u := channels.Update{Channel: b.id, Lane: channels.A, Gen: gen}
	u.Seq, u.Paid, u.Locks = seq, paid, channels.LockRoot(locks)
	for _, l := range locks {
		u.Locked += l.Amount
	}
	return b.Certificate(u)
}

func (b *banking) anchor(c *channels.Certificate) channels.Anchor {
	return channels.Anchor{Channel: b.id, Heads: [2]*channels.Certificate{c, nil}}
}

func TestLifeOfAChannel(t *testing.T) {
	store := state.NewMemory()
	b := newBanking(t, store)
	b.opened()
	if c := b.channel(); c.Balance(channels.A) != 1000 || c.Balance(channels.B) != 500 {
		t.Fatalf("%+v", c)
	}
	b.holds(t, b.banks[0], ledgertest.Opening-1000)
	v := b.makes(b.act(b.banks[1], b.anchor(b.certificate(0, 3, 200))))
	f, ok := v.Events()[0].Fact.(state.ChannelFact)
	if !ok || f.By != b.banks[1].ID || f.Channel.Lanes[0].Head.Seq != 3 || f.Channel.Balance(channels.B) != 700 {
		t.Fatalf("%+v", v.Events())
	}
	// A release of received money, by all together.
	points := [2]channels.Point{b.certificateAt(0, 4, 300), {Head: channels.Head{Hash: cypherlink.Hash(b.id)}}}
	b.makes(b.joint(channels.Joint{
		Do: channels.Release{By: channels.B, Amount: 800, Number: 1}, Points: points,
	}, 0, 1, 2, 4))
	b.holds(t, b.banks[1], ledgertest.Opening-500+800)
	// A challenge ends the generation when its time and its blocks have passed.
	b.makes(b.act(b.banks[0], channels.Dispute{Channel: b.id, Lane: channels.A, Slot: channels.Slot{Seq: 9}}))
	b.wait(5)
	if g := b.channel().Lanes[0].Gen; g != 0 {
		t.Fatalf("generation %d", g)
	}
	b.wait(1)
	if g := b.channel().Lanes[0].Gen; g != 1 {
		t.Fatalf("generation %d", g)
	}
	b.refuses(t, b.second+1, b.act(b.banks[0], channels.Dispute{
		Channel: b.id, Lane: channels.A, Slot: channels.Slot{Gen: 0, Seq: 9},
	}), channels.T3.Code())
	// A restart finds it all again.
	s := open(t, store, b.Network)
	if got, want := s.Final().Roots(), b.Final().Roots(); got != want {
		t.Fatalf("%+v, %+v", got, want)
	}
	// One bank closes; a lock is decided by its reveal.
	preimage := cypherlink.Preimage{7}
	lock := channels.Lock{
		ID: channels.LockID{1}, Amount: 50, Condition: preimage.Condition(), Expiry: start + b.second + 30,
	}
	b.makes(
		b.act(b.banks[0], channels.Close{Channel: b.id}),
		b.act(b.banks[1], b.anchor(b.certificate(1, 5, 310, lock))),
	)
	b.makes(b.act(b.World.Mallory, channels.Reveal{Preimage: preimage}))
	if r, ok, err := b.Reveal(lock.Condition); err != nil || !ok || r.S != start+b.second {
		t.Fatal(r, ok, err)
	}
	b.wait(5)
	if got := b.channel().State; got != channels.Frozen {
		t.Fatalf("%s", got)
	}
	b.makes(b.act(b.banks[1], channels.Supply{Channel: b.id, Lane: channels.A, Locks: []channels.Lock{lock}}))
	b.makes()
	if got := b.channel(); got.State != channels.Closed || got.Total() != 0 {
		t.Fatalf("%+v", got)
	}
	b.holds(t, b.banks[0], ledgertest.Opening-360)
	b.holds(t, b.banks[1], ledgertest.Opening+360)
	// Another one may open, with another nonce.
	o := b.opening()
	again := o.Do.(channels.Open)
	again.Nonce = 2
	o.Do = again
	b.id = channels.NewID(b.World.Network, b.parties(), b.World.Asset, 2)
	b.makes(b.joint(o, 0, 1, 3, 4))
	b.listed(b.id)
	b.listed(channels.NewID(b.World.Network, b.parties(), b.World.Asset, 1))
	b.listed(channels.ID{1})
}

// listed wants the index of a channel's events to be what the feed says.
func (b *banking) listed(id channels.ID) {
	b.t.Helper()
	next, want := uint64(0), state.ErrUnknown
	for from := b.Final().Roots().FeedSize; from+1 > 0; from-- { // down to zero
		if e, err := b.EventAt(from); err == nil && e.Fact.Subject() == cypherlink.Hash(id) {
			next, want = from, nil
		}
		if got, err := b.ChannelEvent(id, from); got != next || !errors.Is(err, want) {
			b.t.Fatalf("channel %s from %d: %d, want %d, %v", id, from, got, next, err)
		}
	}
}

func (b *banking) certificateAt(gen, seq uint32, paid cypherlink.Amount) channels.Point {
	return b.certificate(gen, seq, paid).Update.Point()
}

func TestChannelRefusals(t *testing.T) {
	b := newBanking(t, state.NewMemory())
	refuses := func(tx *state.Transaction, want cypherlink.Code) {
		t.Helper()
		b.refuses(t, b.second+1, tx, want)
	}
	for name, by := range map[string][]int{
		"one bank": {0, 2, 3}, "no validator": {0, 1}, "one of two validators": {0, 1, 2}, "nobody": nil,
	} {
		t.Run(name, func(*testing.T) { refuses(b.joint(b.opening(), by...), channels.T0.Code()) })
	}
	if n := state.Rosters(b.State); n != 0 {
		t.Fatalf("%d rosters of what nobody signed", n)
	}
	// what banks and Validators have signed of one joint action stands for no other (attack B13)
	changed := b.joint(b.opening(), 0, 1, 2, 3).Body.(state.ChannelJoint)
	changed.Joint.ValidUntil++
	refuses(state.NewTransaction(changed), channels.T0.Code())
	foreign := b.opening()
	open := foreign.Do.(channels.Open)
	open.Asset.Code = "USD"
	foreign.Do = open
	refuses(b.joint(foreign, 0, 1, 2, 3), channels.T0.Code())
	refuses(b.joint(channels.Joint{Do: channels.Settlement{}}, 0, 1, 2, 3), channels.T0.Code())
	refuses(b.act(b.banks[0], channels.Close{Channel: b.id}), channels.T0.Code())

	opening := b.joint(b.opening(), 0, 1, 2, 3)
	b.makes(opening)
	if err := b.Try(b.Final(), (start+b.second+1)*1000, opening); err != ledger.ErrRepeated { //nolint:errorlint // as is
		t.Fatal(err)
	}
	if n := state.Rosters(b.State); n != 1 {
		t.Fatalf("%d rosters", n)
	}
	second := b.opening()
	open = second.Do.(channels.Open)
	open.Nonce = 2
	second.Do = open
	b.id = channels.NewID(b.World.Network, b.parties(), b.World.Asset, 2)
	refuses(b.joint(second, 0, 1, 2, 3), channels.T0.Code()) // one at a time
	b.id = channels.NewID(b.World.Network, b.parties(), b.World.Asset, 1)

	refuses(b.act(b.World.Mallory, channels.Close{Channel: b.id}), channels.T0.Code())
	refuses(b.act(b.World.Stranger, channels.Reveal{}), ledger.CodeUnknownSigner)
	refuses(b.act(b.banks[0], channels.Fund{
		Channel: b.id, Amount: ledgertest.Opening + 1, Number: 1,
	}), channels.T1.Code())
	forged := b.act(b.banks[0], channels.Close{Channel: b.id})
	forged.Body.(state.ChannelAction).Signed.Signature[3]++
	refuses(state.NewTransaction(forged.Body), ledger.CodeSignature)
	elsewhere := b.act(b.banks[0], channels.Close{Channel: b.id})
	elsewhere.Body.(state.ChannelAction).Signed.Network[0]++
	refuses(state.NewTransaction(elsewhere.Body), ledger.CodeMalformed)
	c := b.certificate(0, 1, 0)
	c.Endorsements = c.Endorsements[:1]
	refuses(b.act(b.banks[0], b.anchor(c)), channels.T2.Code())
}

// Who is suspended puts nothing in, and may end what there is; a revocation begins to close.
func TestChannelsOfTheSuspendedAndTheRevoked(t *testing.T) {
	b := newBanking(t, state.NewMemory())
	b.opened()
	b.makes(b.change(t, &chain.Suspend{ID: b.banks[0].ID}))
	b.refuses(t, b.second+1, b.act(b.banks[0], channels.Fund{Channel: b.id, Amount: 1, Number: 2}),
		ledger.CodeSuspended)
	b.makes(
		b.act(b.banks[0], b.anchor(b.certificate(0, 1, 10))),
		b.act(b.banks[0], channels.Reveal{Preimage: cypherlink.Preimage{1}}),
		b.act(b.banks[0], channels.Dispute{Channel: b.id, Lane: channels.A, Slot: channels.Slot{Seq: 9}}),
	)
	v := b.makes(b.change(t, &chain.Revoke{ID: b.banks[0].ID}))
	if c := b.channel(); c.State != channels.Closing || len(v.Events()) != 2 {
		t.Fatalf("the channel of a revoked bank is %s, %d events", c.State, len(v.Events()))
	}
	b.refuses(t, b.second+1, b.act(b.banks[0], b.anchor(b.certificate(0, 2, 20))), ledger.CodeRevoked)
	b.makes(b.act(b.banks[1], b.anchor(b.certificate(0, 3, 30)))) // certificates stay good
	b.wait(8)
	if c := b.channel(); c.State != channels.Closed {
		t.Fatalf("%s", c.State)
	}
	b.holds(t, b.banks[1], ledgertest.Opening+30)
}
