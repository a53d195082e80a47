package payment

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
)

// What is bound is anchored by certificates, by one bank alone; or, where the bank is told to, together: and
// alone all the same when the other bank does not sign.
func TestAnchors(t *testing.T) {
	for _, tt := range []struct {
		name    string
		jointly bool
		deaf    bool // the other bank hears of no joint action
		want    string
		none    string
	}{
		{"by certificates", false, false, "channels.Anchor", "channels.Record"},
		{"by certificates, without the other bank", false, true, "channels.Anchor", "channels.Record"},
		{"together", true, false, "channels.Record", "channels.Anchor"},
		{"together, without the other bank", true, true, "channels.Anchor", "channels.Record"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lanes()
			l.JointAnchors = tt.jointly
			playLanes(t, l, func(t *testing.T, w *channelWorld, a, b *Connect) {
				w.opened(a, b)
				if tt.deaf {
					w.setFault(func(c call) ([]byte, error) {
						if c.kind == KindLane && proposes(t, c.body) {
							return nil, errDown
						}
						return c.serve()
					})
				}
				w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
				w.until(b, w.pays(b, 2, w.b, w.a, "20.00"), StatusCompleted)
				if seen := w.chain.Seen(); seen[tt.want] == 0 || seen[tt.none] != 0 {
					t.Errorf("the chain has seen %v", seen)
				}
			})
		})
	}
}

// proposes tells whether a lane's message proposes a joint action.
func proposes(t *testing.T, body []byte) bool {
	t.Helper()
	talk, err := DecodeLaneTalk(body)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range talk.Messages {
		if _, ok := m.(channels.Proposal); ok {
			return true
		}
	}
	return false
}

// A bank that anchors its own lane alone, all the time, keeps what the other one has paid from its anchor no longer
// than it takes until it is the other one's turn.
func TestAnchorOfOneLaneDelaysTheOther(t *testing.T) {
	l := lanes()
	l.Anchor = time.Second
	attack(t, l, func(t *testing.T, at *attacked) {
		a := at.startBank(at.a)
		at.synced(a, at.bank)
		uetr := at.pays(at.bank, 1, at.b, at.a, "50.00")
		at.until(at.bank, uetr, StatusSigned2)
		at.stop(at.a)
		for i := range 60 {
			e := at.writes(0, somePay(i, 1))
			if err := at.offers(e); err != nil {
				t.Fatal(err)
			}
			frame := e.Update.Frame(at.genesis.Network())
			c := &channels.Certificate{Update: e.Update, Payer: e.Peer, Endorsements: e.Endorsements}
			c.Payee, _ = at.b.identity.SignRecorded(frame) // as it has
			anchor := channels.Anchor{Channel: at.id}
			anchor.Heads[e.Update.Lane] = c
			signed := &channels.SignedAction{
				Network: at.genesis.Network(), Signer: at.a.id(), Sequence: uint64(time.Now().UnixNano()), Action: anchor,
			}
			signed.Signature, _ = at.a.identity.Sign(signed.Frame())
			err := at.chain.HandIn(t.Context(), state.ChannelAction{Signed: signed}, func() (bool, error) {
				v, err := at.chain.View(at.id, nil)
				return err == nil && v.Channel.Lanes[e.Update.Lane].Head.Seq == e.Update.Seq, err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		p, err := at.bank.Payment(t.Context(), uetr)
		if err != nil || p.Status == StatusSigned2 {
			t.Errorf("after sixty blocks it is %s, %v", p.Status, err)
		}
	})
}
