package payment

import (
	"context"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// release is a release that this bank has signed.
type release struct {
	Amount cypherlink.Amount
	// Number is the chain's, of either bank's releases; ValidUntil is when it can happen no more, in block
	// time.
	Number     uint64
	ValidUntil int64
}

// void tells whether the release has not happened, and cannot any more.
func (r *release) void(v *channels.View) bool {
	return v.Channel.Releases < r.Number && v.Now.S >= r.ValidUntil
}

// underWay tells whether the release has not happened, and can.
func (r *release) underWay(v *channels.View) bool {
	return v.Channel.Releases < r.Number && v.Now.S < r.ValidUntil
}

func (r *release) encode() []byte {
	w := wire.NewWriter(24)
	w.I64(int64(r.Amount))
	w.U64(r.Number)
	w.I64(r.ValidUntil)
	return w.Bytes()
}

func decodeRelease(raw []byte) (release, error) {
	r := wire.NewReader(raw)
	v := release{Amount: readAmount(r), Number: r.U64(), ValidUntil: r.I64()}
	return v, finish(r)
}

// overtaken are the numbers of this bank's releases that were void, and of which it has then signed the other
// bank's. It is a fold of the channel's log.
type overtaken struct {
	// own is the number of this bank's last release.
	own     uint64
	numbers map[uint64]bool
}

// fold takes an event of the log. A bank signs no release as long as another one of that number may happen
// (L8): so of those that it has signed only the last one can have.
func (o *overtaken) fold(own channels.Side, e channels.Event) {
	joined, _ := e.(channels.Joined)
	signed, ok := joined.Joint.Do.(channels.Release)
	switch {
	case !ok:
	case joined.Joint.Proposer == own:
		o.own = signed.Number
		delete(o.numbers, signed.Number)
	case signed.Number == o.own:
		o.numbers[signed.Number] = true
	}
}

// releaseOrder is a release that is wanted, and the key under which its operator wants it: empty if the bank
// itself does.
type releaseOrder struct {
	release
	key string
	raw []byte
	// replayed: it stands under the key already.
	replayed bool
}

// releases asks the other bank for a release, unless it stands under its key. There is one at a time: two
// would have one number, and of that the chain shows only that it is taken.
func (t *teller) releases(ctx context.Context, n *turn, o *releaseOrder) error {
	if o.key != "" {
		err := t.tellers.Store.Update(ctx, func(tx *store.Tx) (err error) {
			o.replayed, err = t.stands(tx, o)
			return err
		})
		if ctx.Err() != nil {
			return connector.ErrStopped
		}
		if err != nil || o.replayed {
			return err
		}
	}
	last := &t.ordered.release
	if last.underWay(&t.view) {
		return refuse(channels.L8.Code(), notYet, "L8: another release of this bank's is under way", nil)
	}
	// Two banks whose bands ask at once consent to neither: then it is A's turn.
	if turn := last.ValidUntil + 2*t.tellers.Lanes.JointS; o.key == "" && t.own == channels.B &&
		last.void(&t.view) && t.view.Now.S < turn {
		return refuse(channels.L8.Code(), notYet, "L8: it is the other bank's turn to release", nil)
	}
	from := len(n.persist)
	err := t.do(n, func(now int64) (channels.Effects, error) {
		return t.party.Ask(now, channels.Release{Amount: o.Amount})
	})
	if err != nil {
		return err
	}
	for _, e := range n.persist[from:] {
		joined, ok := e.(channels.Joined)
		if !ok {
			continue
		}
		if asked, ok := joined.Joint.Do.(channels.Release); ok && joined.Joint.Proposer == t.own {
			o.release = release{asked.Amount, asked.Number, joined.Joint.ValidUntil}
		}
	}
	t.ordered.release, n.release = o.release, o
	return nil
}

// stands tells whether the order's key stands for a release. It stands for none any more that is void,
// whichever other one has taken its number.
func (t *teller) stands(tx *store.Tx, o *releaseOrder) (bool, error) {
	stream, at, err := standingUnder(tx, o.key, o.raw)
	if err != nil || stream == "" {
		return false, err
	}
	stored, err := tx.Load(stream, int64(at)-1)
	if err != nil {
		return false, err
	}
	if len(stored) == 0 {
		return false, fmt.Errorf("%s ends before event %d: %w", stream, at, ErrEvent)
	}
	r, err := decodeRelease(stored[0].Body)
	if err != nil {
		return false, err
	}
	void := r.void(&t.view) || t.overtaken.numbers[r.Number]
	for _, e := range stored[1:] {
		if e.Kind != orderedRelease {
			continue
		}
		later, err := decodeRelease(e.Body)
		if err != nil {
			return false, err
		}
		void = void || later.Number == r.Number
	}
	if !void {
		return true, nil
	}
	return false, forget(tx, o.key)
}

// keep stores that the release was asked for, in the commit that says so in the channel's log: before that
// its key stands for nothing.
func (o *releaseOrder) keep(tx *store.Tx, id channels.ID) error {
	stored, err := tx.Load(orderStream(id), 0)
	if err != nil {
		return err
	}
	before := len(stored)
	err = tx.Append(orderStream(id), int64(before), store.Event{Kind: orderedRelease, Body: o.encode()})
	if err != nil || o.key == "" {
		return err
	}
	if err := forget(tx, o.key); err != nil { // whoever has just taken it with another body
		return err
	}
	return standUnder(tx, o.key, o.raw, orderStream(id), before+1)
}
