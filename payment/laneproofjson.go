package payment

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
)

// laneReceiptFormat is the first field of every receipt of a payment over a channel.
const laneReceiptFormat = "cypherlink-receipt-channel-v1"

// The JSON form of a LaneProof. Signed, Evidence and the path are what is proved; every other field is
// computed from them, and compared.
type (
	laneReceiptJSON struct {
		Format   string               `json:"format"`
		Network  cypherlink.NetworkID `json:"network"`
		UETR     cypherlink.UETR      `json:"uetr"`
		Terms    agreementJSON        `json:"terms"`
		Movement movementJSON         `json:"movement"`
		Pay      payJSON              `json:"pay"`
		Update   updateJSON           `json:"update"`
		Later    []laterJSON          `json:"later_updates"`
		Anchored anchoredJSON         `json:"anchored"`
	}
	movementJSON struct {
		agreedJSON
		Verdicts []verdictJSON `json:"verdicts"`
	}
	payJSON struct {
		Payment cypherlink.UETR `json:"payment"`
		Amount  string          `json:"amount"`
		Terms   cypherlink.Hash `json:"terms"`
		Path    []stepJSON      `json:"path"`
	}
	stepJSON struct {
		Side string          `json:"side"`
		Hash cypherlink.Hash `json:"hash"`
	}
	updateJSON struct {
		Hash       cypherlink.Hash `json:"hash"`
		Channel    channels.ID     `json:"channel"`
		Lane       string          `json:"lane"`
		Generation uint32          `json:"generation"`
		Sequence   uint32          `json:"sequence"`
		Previous   cypherlink.Hash `json:"previous"`
		ReliesOn   string          `json:"relies_on"`
		Paid       string          `json:"paid"`
		Locked     string          `json:"locked"`
		Locks      cypherlink.Hash `json:"locks"`
		Body       cypherlink.Hash `json:"body"`
		Signed     hexBytes        `json:"signed"`
	}
	laterJSON struct {
		Generation uint32          `json:"generation"`
		Sequence   uint32          `json:"sequence"`
		Hash       cypherlink.Hash `json:"hash"`
		Signed     hexBytes        `json:"signed"`
	}
	anchoredJSON struct {
		State    string          `json:"state"`
		Sequence uint32          `json:"sequence"`
		Hash     cypherlink.Hash `json:"hash"`
		Paid     string          `json:"paid"`
		Event    uint64          `json:"event"`
		Time     string          `json:"time"`
		Finality *finalityJSON   `json:"finality"`
		Evidence hexBytes        `json:"evidence"`
	}
)

// The sides on which a sibling stands.
const (
	sideLeft  = "left"
	sideRight = "right"
)

// json is of a proof that is well formed.
func (p *LaneProof) json() *laneReceiptJSON {
	t := p.Terms.Terms
	leg := t.Legs[terms.Source]
	pay := p.pay()
	j := &laneReceiptJSON{
		Format: laneReceiptFormat, Network: t.Network, UETR: t.UETR, Terms: agreementOf(p.Terms),
		Movement: movementJSON{agreedOf(&leg), verdictsOf(p.Verdicts)},
		Pay: payJSON{
			Payment: pay.Payment, Amount: pay.Amount.Format(leg.Asset.Scale), Terms: pay.Terms,
			Path: []stepJSON{},
		},
		Update: updateOf(&p.Updates[0], leg.Asset.Scale), Later: []laterJSON{},
		Anchored: p.anchoredJSON(leg.Asset.Scale),
	}
	for _, step := range p.Path {
		side := sideRight
		if step.Left {
			side = sideLeft
		}
		j.Pay.Path = append(j.Pay.Path, stepJSON{side, step.Sibling})
	}
	for i := range p.Updates[1:] {
		u := &p.Updates[1+i]
		j.Later = append(j.Later, laterJSON{u.Gen, u.Seq, u.Hash, updateBytes(u)})
	}
	return j
}

func updateBytes(u *channels.Update) []byte {
	w := wire.NewWriter(256)
	u.AppendWire(w)
	return w.Bytes()
}

func updateOf(u *channels.Update, scale uint8) updateJSON {
	return updateJSON{
		Hash: u.Hash, Channel: u.Channel, Lane: u.Lane.String(), Generation: u.Gen, Sequence: u.Seq,
		Previous: u.Prev, ReliesOn: u.Dep.Format(scale), Paid: u.Paid.Format(scale),
		Locked: u.Locked.Format(scale), Locks: u.Locks, Body: u.Body, Signed: updateBytes(u),
	}
}

// anchoredJSON shows the event, and the head that it has of the lane.
func (p *LaneProof) anchoredJSON(scale uint8) anchoredJSON {
	e := p.Anchored
	j := anchoredJSON{
		Event: e.Index, Time: instant(e.Event.TimeMS), Finality: finalityOf(e), Evidence: e.Encode(),
	}
	if fact, ok := e.Event.Fact.(state.ChannelFact); ok {
		head := fact.Channel.Lanes[p.Updates[0].Lane].Head
		j.State, j.Sequence, j.Hash = fact.Channel.State.String(), head.Seq, head.Hash
		j.Paid = head.Paid.Format(scale)
	}
	return j
}
