package payment

import (
	"testing"

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
				if seen := w.chain.seen; seen[tt.want] == 0 || seen[tt.none] != 0 {
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
