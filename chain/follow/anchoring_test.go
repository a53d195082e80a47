package follow_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
)

// channelled is a committee whose banks have a channel, open and funded by both.
func channelled(t testing.TB) (*committee, channels.ID) {
	t.Helper()
	c := newCommittee(t)
	open := c.Open(1)
	j := channels.Joint{
		Channel: channels.NewID(c.World.Network, open.Banks, open.Asset, 1), Do: open, ValidUntil: start + 10,
	}
	c.together(t, 1, j)
	c.blockOf(t, 2,
		c.act(0, 1, channels.Fund{Channel: j.Channel, Amount: 1000, Number: 1}),
		c.act(1, 1, channels.Fund{Channel: j.Channel, Amount: 1000, Number: 1}))
	return c, j.Channel
}

// act is an action of a bank.
func (c *committee) act(side channels.Side, sequence uint64, a channels.Action) state.Body {
	return state.ChannelAction{Signed: c.Act(c.Banks()[side], sequence, a)}
}

// together makes a block of a joint action.
func (c *committee) together(t testing.TB, seconds int64, j channels.Joint) {
	t.Helper()
	open := c.Open(1)
	roster, err := state.JointRoster(c.state.Final().Registry(), open.Banks, open.Asset)
	if err != nil {
		t.Fatal(err)
	}
	c.blockOf(t, seconds, state.ChannelJoint{Joint: j, Certificate: c.Cosign(t, roster, j, 0, 1, 2, 3)})
}

// certificate is one of an update of a lane.
func (c *committee) certificate(
	id channels.ID, lane channels.Side, gen, seq uint32, paid cypherlink.Amount,
) *channels.Certificate {
	u := channels.Update{Channel: id, Lane: lane, Gen: gen}
	u.Seq, u.Paid, u.Locks = seq, paid, channels.LockRoot(nil)
	return c.Certificate(u)
}

// anchor makes a block in which a lane's head moves on, among what does not concern it.
func (c *committee) anchor(t testing.TB, seconds int64, certificate *channels.Certificate) {
	t.Helper()
	a := channels.Anchor{Channel: certificate.Update.Channel}
	a.Heads[certificate.Update.Lane] = certificate
	at := uint64(seconds)
	c.blockOf(t, seconds,
		c.act(0, at, channels.Reveal{Preimage: cypherlink.Preimage{byte(seconds), 1}}),
		c.act(certificate.Update.Lane, at+100, a),
		c.act(0, at+200, channels.Reveal{Preimage: cypherlink.Preimage{byte(seconds), 2}}))
}

// The first event with the head at or beyond a sequence is found, whatever else happened, of whichever
// generation; and it convinces whoever has the genesis.
func TestAnchoring(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, id := channelled(t)
		c.anchor(t, 3, c.certificate(id, channels.A, 0, 3, 30))
		c.anchor(t, 4, c.certificate(id, channels.B, 0, 2, 20))
		cut := channels.Joint{
			Channel: id, Do: channels.Cut{Lane: channels.A}, ValidUntil: start + 20, Counter: 1,
			Points: [2]channels.Point{
				c.certificate(id, channels.A, 0, 5, 50).Update.Point(),
				c.certificate(id, channels.B, 0, 2, 20).Update.Point(),
			},
		}
		c.together(t, 5, cut)
		c.anchor(t, 6, c.certificate(id, channels.A, 1, 9, 90))
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		reach(t, f, 6)
		verifier, err := follow.NewVerifier(c.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			lane   channels.Side
			seq    uint32
			height uint64
			head   uint32
		}{
			{channels.A, 0, 1, 0},
			{channels.A, 1, 3, 3},
			{channels.A, 3, 3, 3},
			{channels.A, 4, 5, 5},
			{channels.A, 5, 5, 5},
			{channels.A, 6, 6, 9},
			{channels.A, 9, 6, 9},
			{channels.B, 1, 4, 2},
			{channels.B, 2, 4, 2},
		} {
			e, err := f.Anchoring(t.Context(), id, tt.lane, tt.seq)
			if err != nil || holds(c, e) != nil || e.Event.Height != tt.height {
				t.Fatalf("%+v: %+v, %v", tt, e, err)
			}
			evidence := e.Evidence().Encode()
			channel, s, err := verifier.Channel(evidence)
			if err != nil || channel.ID != id || channel.Lanes[tt.lane].Head.Seq != tt.head ||
				s.Height != tt.height || s.Receipt.Sequence != e.Index+1 || s.Receipt.TimeMS != e.Event.TimeMS ||
				len(s.Signers) != c.Committee.Quorum() {
				t.Fatalf("%+v: %+v, %+v, %v", tt, channel, s, err)
			}
			fact := e.Event.Fact.(state.ChannelFact)
			if !reflect.DeepEqual(*channel, fact.Channel) {
				t.Fatalf("%+v", channel)
			}
		}
		for _, tt := range []struct {
			id   channels.ID
			lane channels.Side
			seq  uint32
		}{{id, channels.A, 10}, {id, channels.B, 3}, {channels.ID{1}, channels.A, 0}} {
			if _, err := f.Anchoring(t.Context(), tt.id, tt.lane, tt.seq); !errors.Is(err, state.ErrUnknown) {
				t.Errorf("%+v: %v", tt, err)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Without a final block, of another event, or changed: it shows no channel.
func TestForgedAnchorings(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, id := channelled(t)
		w := c.World
		c.anchor(t, 3, c.certificate(id, channels.A, 0, 3, 30))
		c.block(t, 4, w.Prepare(w.Payment("one", 1, start+900)))
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		reach(t, f, 4)
		verifier, err := follow.NewVerifier(c.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		e, err := f.Anchoring(t.Context(), id, channels.A, 3)
		if err != nil {
			t.Fatal(err)
		}
		good := e.Evidence().Encode()
		if _, _, err := verifier.Channel(good); err != nil {
			t.Fatal(err)
		}
		if _, err := verifier.Statement(good); !errors.Is(err, follow.ErrEvidence) {
			t.Errorf("a channel is a custody: %v", err)
		}
		if _, err := verifier.Passage(good); !errors.Is(err, follow.ErrEvidence) {
			t.Errorf("a channel is a crossing: %v", err)
		}
		reveal, err := f.Entry(t.Context(), e.Index-1)
		if err != nil {
			t.Fatal(err)
		}
		early := *e.Evidence()
		early.Proof = c.blocks[1].Proof // final, and before the event
		uncertified := *e.Evidence()
		uncertified.Proof.Headers = uncertified.Proof.Headers[:1]
		uncertified.Proof.QC = c.Certify(t, uncertified.Proof.Headers[0])
		for name, evidence := range map[string][]byte{
			"a reveal":                        reveal.Evidence().Encode(),
			"a custody":                       receipt(t, f, w.ID(w.Payment("one", 1, start+900))).Evidence,
			"an absence":                      receipt(t, f, ledger.CustodyID{1}).Evidence,
			"the block before":                early.Encode(),
			"a block that is certified alone": uncertified.Encode(),
		} {
			if _, _, err := verifier.Channel(evidence); !errors.Is(err, follow.ErrEvidence) {
				t.Errorf("%s: %v", name, err)
			}
		}
		step := 1
		if testing.Short() {
			step = 31
		}
		for at := 0; at < len(good); at += step {
			bad := append([]byte(nil), good...)
			bad[at] ^= 1
			if _, _, err := verifier.Channel(bad); !errors.Is(err, follow.ErrEvidence) {
				t.Fatalf("byte %d of %d does not count: %v", at, len(bad), err)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}
