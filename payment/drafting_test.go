package payment

import (
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// A draft that is given up while the Validators are asked about it, and made again with the same content: what
// was answered about the first is nothing about the second, which is asked about in its turn.
func TestDraftMadeAgain(t *testing.T) {
	d := drafting{signal: make(chan struct{}, 1)}
	same := channels.Update{Head: channels.Head{Hash: cypherlink.Hash{1}}}
	one, other := &draft{update: same}, &draft{update: same}
	d.change(nil, []*draft{one})
	_, asking, _ := d.first(t.Context())
	d.change(map[cypherlink.Hash]bool{same.Hash: true}, []*draft{other})
	if asking.Err() == nil {
		t.Error("the Validators are still asked about what is given up")
	}
	if d.asked(one) {
		t.Error("an answer about the first is taken")
	}
	if now, asking, ok := d.first(t.Context()); !ok || now != other || asking.Err() != nil || !d.asked(other) {
		t.Error("nobody is asked about the second")
	}
}
