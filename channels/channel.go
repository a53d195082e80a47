package channels

import (
	"errors"
	"math"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/validator"
)

// MaxValidators bounds the Validators of a channel's asset.
const MaxValidators = validator.MaxValidators

// State is where a channel stands. It only ever moves on.
type State uint8

// The states.
const (
	Opened  State = 1
	Closing State = 2
	Frozen  State = 3
	Closed  State = 4
)

// String is the state's name on the design page.
func (s State) String() string {
	if s < Opened || s > Closed {
		return "NONE"
	}
	return [...]string{"OPEN", "CLOSING", "FROZEN", "CLOSED"}[s-1]
}

// Time is when something happens on the chain: its block's time, in seconds since 1970, and height.
type Time struct {
	S      int64
	Height uint64
}

// Challenge says that the lane's generation ends unless an update of at least that sequence is
// anchored. The zero Challenge is none.
type Challenge struct {
	Seq   uint32
	Since Time
}

// Signers are the Ed25519 keys with which updates of a lane's generation are signed.
type Signers struct {
	Payer, Payee [32]byte
	// Threshold of the Validators have to endorse an update.
	Threshold  uint8
	Validators []ValidatorKey
}

// ValidatorKey is a Validator with its key.
type ValidatorKey struct {
	ID  cypherlink.ParticipantID
	Key [32]byte
}

// Lane is what the chain knows of a lane.
type Lane struct {
	Gen       uint32
	Head      Head
	Challenge Challenge
	// Signers are those of Gen.
	Signers Signers
	// Listed are the open locks once they are supplied, after the channel froze (T9).
	Listed []Lock
}

// Channel is what the chain knows of a channel. It is a value: Apply and Expire change a copy.
type Channel struct {
	ID     ID
	Asset  cypherlink.Asset
	Limits Limits
	// Banks are in the order of their ids, as sides A and B; Accounts are theirs on the chain, from
	// which the channel is funded and to which it pays out.
	Banks    [2]cypherlink.ParticipantID
	Accounts [2]cypherlink.Account
	// Funds is what the banks put in less what left: negative where received money has left.
	Funds [2]int64
	// Fundings and Releases count what moved in and out.
	Fundings [2]uint64
	Releases uint64
	State    State
	// Since is when the channel came to Closing or to Frozen.
	Since Time
	Lanes [2]Lane
}

// Side is the side of a bank; ok tells whether it is one of the two.
func (c *Channel) Side(bank cypherlink.ParticipantID) (side Side, ok bool) {
	i := slices.Index(c.Banks[:], bank)
	return Side(max(i, 0)), i >= 0 //nolint:gosec // 0 or 1
}

// Balance is what belongs to a side now; what is locked belongs to nobody.
func (c *Channel) Balance(side Side) int64 {
	received := c.Lanes[side.Other()].Head.Paid
	b, _ := balance(c.Funds[side], received, c.Lanes[side].Head) // it was checked when a head moved
	return b
}

// Total is everything that the channel holds.
func (c *Channel) Total() int64 { return c.Funds[A] + c.Funds[B] }

// balance is funds + received - paid - locked; ok tells whether it is in the range.
func balance(funds int64, received cypherlink.Amount, own Head) (b int64, ok bool) {
	b, ok = sum(funds, int64(received)-int64(own.Paid)) // two amounts: no overflow
	if !ok {
		return 0, false
	}
	return sum(b, -int64(own.Locked))
}

func sum(a, b int64) (int64, bool) {
	if b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b {
		return 0, false
	}
	return a + b, true
}

// Bound on the bytes of a stored channel: two lanes with Validators, and with listed locks.
const maxChannel = 4096 + 2*(MaxValidators*64+MaxLocksEver*80)

// Encode is the canonical form.
func (c *Channel) Encode() []byte {
	w := wire.NewWriter(1024)
	w.Fixed(c.ID[:])
	c.Asset.AppendWire(w)
	c.Limits.appendWire(w)
	for i := range c.Banks {
		w.Fixed(c.Banks[i][:])
		c.Accounts[i].AppendWire(w)
		w.I64(c.Funds[i])
		w.U64(c.Fundings[i])
	}
	w.U64(c.Releases)
	w.U8(uint8(c.State))
	c.Since.appendWire(w)
	for i := range c.Lanes {
		c.Lanes[i].appendWire(w)
	}
	return w.Bytes()
}

// DecodeChannel takes exactly the form of Encode; otherwise ErrForm.
func DecodeChannel(b []byte) (*Channel, error) {
	r := wire.NewReader(b)
	var c Channel
	r.Fixed(c.ID[:])
	c.Asset = cypherlink.ReadAsset(r)
	c.Limits = readLimits(r)
	for i := range c.Banks {
		r.Fixed(c.Banks[i][:])
		c.Accounts[i] = cypherlink.ReadAccount(r)
		c.Funds[i] = r.I64()
		c.Fundings[i] = r.U64()
	}
	c.Releases = r.U64()
	c.State = State(r.U8())
	c.Since = readTime(r)
	for i := range c.Lanes {
		c.Lanes[i] = readLane(r)
	}
	if r.Err() == nil && (c.State < Opened || c.State > Closed || len(b) > maxChannel) {
		r.Fail(ErrForm)
	}
	if err := r.End(); err != nil {
		return nil, errors.Join(ErrForm, err)
	}
	return &c, nil
}

func (t Time) appendWire(w *wire.Writer) {
	w.I64(t.S)
	w.U64(t.Height)
}

func readTime(r *wire.Reader) Time { return Time{S: r.I64(), Height: r.U64()} }

func (l *Lane) appendWire(w *wire.Writer) {
	w.U32(l.Gen)
	l.Head.appendWire(w)
	w.U32(l.Challenge.Seq)
	l.Challenge.Since.appendWire(w)
	w.Fixed(l.Signers.Payer[:])
	w.Fixed(l.Signers.Payee[:])
	w.U8(l.Signers.Threshold)
	w.U32(uint32(len(l.Signers.Validators))) //nolint:gosec // at most MaxValidators
	for _, v := range l.Signers.Validators {
		w.Fixed(v.ID[:])
		w.Fixed(v.Key[:])
	}
	AppendLocks(w, l.Listed)
}

func readLane(r *wire.Reader) Lane {
	l := Lane{Gen: r.U32(), Head: readHead(r)}
	l.Challenge = Challenge{Seq: r.U32(), Since: readTime(r)}
	r.Fixed(l.Signers.Payer[:])
	r.Fixed(l.Signers.Payee[:])
	l.Signers.Threshold = r.U8()
	for n := r.Count(MaxValidators, 64); n > 0; n-- {
		var v ValidatorKey
		r.Fixed(v.ID[:])
		r.Fixed(v.Key[:])
		l.Signers.Validators = append(l.Signers.Validators, v)
	}
	if locks := ReadLocks(r); len(locks) > 0 {
		l.Listed = locks
	}
	return l
}

// signatures are those that the certificate needs, or nil if it lacks one of them. A Validator
// counts once.
func (s *Signers) signatures(network cypherlink.NetworkID, c *Certificate) []cosi.IdentitySignature {
	f := c.Update.Frame(network)
	all := []cosi.IdentitySignature{
		{Key: s.Payer, Frame: f, Signature: c.Payer}, {Key: s.Payee, Frame: f, Signature: c.Payee},
	}
	return s.endorsements(f, c.Endorsements, all)
}

func (s *Signers) endorsements(
	f cosi.Frame, endorsements []Endorsement, all []cosi.IdentitySignature,
) []cosi.IdentitySignature {
	var counted []cypherlink.ParticipantID
	for _, e := range endorsements {
		i := slices.IndexFunc(s.Validators, func(v ValidatorKey) bool { return v.ID == e.Validator })
		if i < 0 || slices.Contains(counted, e.Validator) {
			return nil
		}
		counted = append(counted, e.Validator)
		all = append(all, cosi.IdentitySignature{Key: s.Validators[i].Key, Frame: f, Signature: e.Signature})
	}
	if len(counted) < int(s.Threshold) {
		return nil
	}
	return all
}
