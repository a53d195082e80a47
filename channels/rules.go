package channels

import (
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
)

// Rules is what the chain's rules rest on, besides the channel itself.
type Rules struct {
	Network cypherlink.NetworkID
	// Verify checks signatures, and should remember those that are right.
	Verify cosi.Verifier
	// Signers are the keys for a lane's next generation, of the registry at that block.
	Signers func(c *Channel, lane Side) Signers
	// Revealed is the block time, in seconds, at which a preimage of the condition was first
	// revealed; ok tells whether one was.
	Revealed func(cypherlink.Condition) (s int64, ok bool)
}

// Moves are what a transaction moves between the channel and the banks' accounts: positive to the
// account, negative from it. Funds and Moves together stay the same.
type Moves [2]int64

// passed tells whether a deadline that began then has passed (T7).
func (l Limits) passed(since, now Time) bool {
	return now.S > since.S+l.WindowS && now.Height >= since.Height+l.Blocks
}

// Due is the first time, in seconds, at which Expire may have something to do; ok tells whether
// there is one. Then it is due in every block until Expire has done it.
func (c *Channel) Due() (s int64, ok bool) {
	earliest := func(at int64) {
		if !ok || at < s {
			s, ok = at, true
		}
	}
	for i := range c.Lanes {
		if since := c.Lanes[i].Challenge.Since; c.Lanes[i].Challenge != (Challenge{}) {
			earliest(since.S + c.Limits.WindowS + 1)
		}
	}
	switch c.State {
	case Closing:
		earliest(c.Since.S + c.Limits.WindowS + 1)
	case Frozen:
		earliest(c.Since.S)
	case Opened, Closed:
	}
	return s, ok
}

// Expire does what time does: it ends generations whose challenge was not answered, freezes a
// channel whose window has passed, and pays a frozen one out as soon as every lock is decided. It
// comes before everything else in a block. changed tells whether it did anything.
func (c *Channel) Expire(rules *Rules, now Time) (moves Moves, changed bool) {
	for i := range c.Lanes {
		l := &c.Lanes[i]
		if l.Challenge != (Challenge{}) && c.Limits.passed(l.Challenge.Since, now) {
			c.raise(rules, Side(i))
			changed = true
		}
	}
	if c.State == Closing && c.Limits.passed(c.Since, now) {
		c.State, c.Since, changed = Frozen, now, true
	}
	if c.State == Frozen && c.decided(rules, now) {
		return c.payOut(rules), true
	}
	return moves, changed
}

// raise ends a lane's generation at its anchored head.
func (c *Channel) raise(rules *Rules, lane Side) {
	l := &c.Lanes[lane]
	l.Gen++
	l.Challenge = Challenge{}
	l.Signers = rules.Signers(c, lane)
}

// decided tells whether every lock of a frozen channel has its outcome (T9).
func (c *Channel) decided(rules *Rules, now Time) bool {
	late := c.Limits.passed(c.Since, now)
	for i := range c.Lanes {
		l := &c.Lanes[i]
		if l.Head.Locked == 0 {
			continue
		}
		if l.Listed == nil && !late {
			return false
		}
		for _, lock := range l.Listed {
			if _, revealed := rules.Revealed(lock.Condition); !revealed && now.S < lock.Expiry {
				return false
			}
		}
	}
	return true
}

// payOut closes the channel: a lock whose preimage was revealed before its expiry is the payee's,
// any other, and every lock of a lane without a list, the payer's.
func (c *Channel) payOut(rules *Rules) Moves {
	var earned [2]int64 // through locks
	for i := range c.Lanes {
		payer := Side(i)
		l := &c.Lanes[i]
		earned[payer] += int64(l.Head.Locked)
		for _, lock := range l.Listed {
			if s, ok := rules.Revealed(lock.Condition); ok && s < lock.Expiry {
				earned[payer] -= int64(lock.Amount)
				earned[payer.Other()] += int64(lock.Amount)
			}
		}
	}
	moves := Moves{c.Balance(A) + earned[A], c.Balance(B) + earned[B]}
	c.empty()
	return moves
}

// empty leaves a closed channel.
func (c *Channel) empty() {
	c.State = Closed
	for i := range c.Lanes {
		c.Lanes[i].Challenge, c.Lanes[i].Listed = Challenge{}, nil
		c.Funds[i] = int64(c.Lanes[i].Head.Paid) - int64(c.Lanes[1-i].Head.Paid)
		c.Lanes[i].Head.Locked = 0
	}
}

// Apply checks what one participant asks, whose signature the caller has verified, and changes the
// channel. A Reveal is not for it. After an error, a refusal that names its rule, the channel is as
// it was. ErrRepeated of package ledger says that what is asked for stands already. The caller sees
// that the accounts cover what Moves takes from them.
func (c *Channel) Apply(
	rules *Rules, now Time, by cypherlink.ParticipantID, action Action,
) (moves Moves, err error) {
	side, ok := c.Side(by)
	if !ok {
		return moves, refuse(T0, reasonSigner, "%s is not a bank of the channel", by)
	}
	switch a := action.(type) {
	case Fund:
		return c.fund(side, a)
	case Anchor:
		return moves, c.anchor(rules, a)
	case Dispute:
		return moves, c.dispute(now, a)
	case Close:
		if c.State != Opened {
			return moves, ledger.ErrRepeated
		}
		c.State, c.Since = Closing, now
		return moves, nil
	case Supply:
		return moves, c.supply(a)
	default:
		return moves, refuse(T0, reasonForm, "%T is not about a channel", action)
	}
}

func (c *Channel) fund(side Side, a Fund) (moves Moves, err error) {
	if a.Number <= c.Fundings[side] {
		return moves, ledger.ErrRepeated
	}
	funds, ok := sum(c.Funds[side], int64(a.Amount))
	switch {
	case c.State != Opened:
		return moves, refuse(T1, reasonFailed, "the channel is %s", c.State)
	case a.Number != c.Fundings[side]+1:
		return moves, refuse(T1, reasonFailed, "funding %d after %d", a.Number, c.Fundings[side])
	case a.Amount <= 0 || !ok:
		return moves, refuse(T1, reasonForm, "an amount of %d", a.Amount)
	}
	c.Funds[side], c.Fundings[side] = funds, a.Number
	moves[side] = -int64(a.Amount)
	return moves, nil
}

// anchor takes each lane's head to the maximum of what stands and what is certified (T2).
func (c *Channel) anchor(rules *Rules, a Anchor) error {
	var points [2]Point
	var signatures []cosi.IdentitySignature
	for i, certificate := range a.Heads {
		if certificate == nil {
			continue
		}
		u := &certificate.Update
		if u.Channel != c.ID || int(u.Lane) != i {
			return refuse(T2, reasonForm, "the update of lane %s is another lane's", Side(i))
		}
		if !c.advances(u.Lane, u.Slot()) {
			continue
		}
		needed := c.Lanes[i].Signers.signatures(rules.Network, certificate)
		if needed == nil {
			return refuse(T2, reasonSignature, "the update of lane %s lacks a Validator's signature", u.Lane)
		}
		points[i] = u.Point()
		signatures = append(signatures, needed...)
	}
	next, err := c.maximum(points)
	if err != nil {
		return err
	}
	if bad := rules.Verify(signatures); len(bad) > 0 {
		return refuse(T2, reasonSignature, "%d of %d signatures are wrong", len(bad), len(signatures))
	}
	c.Lanes = next
	return nil
}

// advances tells whether an update in the slot moves the lane's head on.
func (c *Channel) advances(lane Side, slot Slot) bool {
	l := &c.Lanes[lane]
	return slot.Gen == l.Gen && slot.Seq > l.Head.Seq
}

// maximum is the lanes with those points that advance one of them, if there is one, each relies on
// no more than the other lane then has paid, and no balance is negative (T2).
func (c *Channel) maximum(points [2]Point) (lanes [2]Lane, err error) {
	if c.State != Opened && c.State != Closing {
		return lanes, refuse(T2, reasonFailed, "the channel is %s", c.State)
	}
	lanes = c.Lanes
	advanced := false
	for i := range points {
		if !c.advances(Side(i), points[i].Slot()) {
			continue
		}
		advanced = true
		lanes[i].Head = points[i].Head
		if ch := lanes[i].Challenge; ch != (Challenge{}) && points[i].Seq >= ch.Seq {
			lanes[i].Challenge = Challenge{}
		}
	}
	if !advanced {
		return lanes, ledger.ErrRepeated
	}
	for i := range lanes {
		reverse := lanes[1-i].Head
		if lanes[i].Head != c.Lanes[i].Head && points[i].Dep > reverse.Paid {
			return lanes, refuse(T2, reasonFunds, "lane %s relies on %d, the other has paid %d",
				Side(i), points[i].Dep, reverse.Paid)
		}
		if b, ok := balance(c.Funds[i], reverse.Paid, lanes[i].Head); !ok || b < 0 {
			return lanes, refuse(T2, reasonFunds, "the balance of %s would be %d", Side(i), b)
		}
	}
	return lanes, nil
}

func (c *Channel) dispute(now Time, a Dispute) error {
	l := &c.Lanes[a.Lane]
	switch {
	case c.State != Opened:
		return refuse(T3, reasonFailed, "the channel is %s", c.State)
	case a.Slot.Gen != l.Gen:
		return refuse(T3, reasonFailed, "lane %s is in generation %d", a.Lane, l.Gen)
	case l.Challenge != (Challenge{}) && l.Challenge.Seq == a.Slot.Seq:
		return ledger.ErrRepeated
	case l.Challenge != (Challenge{}):
		return refuse(T3, reasonFailed, "lane %s is challenged at %d", a.Lane, l.Challenge.Seq)
	case a.Slot.Seq <= l.Head.Seq:
		return refuse(T3, reasonFailed, "lane %s is anchored at %d", a.Lane, l.Head.Seq)
	}
	l.Challenge = Challenge{Seq: a.Slot.Seq, Since: now}
	return nil
}

func (c *Channel) supply(a Supply) error {
	l := &c.Lanes[a.Lane]
	switch {
	case c.State != Frozen:
		return refuse(T9, reasonFailed, "the channel is %s", c.State)
	case len(a.Locks) == 0:
		return refuse(T9, reasonForm, "an empty list")
	case LockRoot(a.Locks) != l.Head.Locks || !addUp(a.Locks, l.Head.Locked):
		return refuse(T9, reasonForm, "the list is not that of lane %s", a.Lane)
	case slices.ContainsFunc(a.Locks, func(k Lock) bool { return k.Expiry > c.latest() }):
		return refuse(T9, reasonForm, "a lock of lane %s expires later than any may", a.Lane)
	case l.Listed != nil:
		return ledger.ErrRepeated
	}
	l.Listed = slices.Clone(a.Locks)
	return nil
}

// latest is when the last lock that an honest bank has signed expires: else two banks could keep a
// frozen channel for ever.
func (c *Channel) latest() int64 { return c.Since.S + c.Limits.MaxExpiryS }

// addUp tells whether the locks are worth that sum. Two banks may certify another one, of which the
// channel cannot pay them out.
func addUp(locks []Lock, locked cypherlink.Amount) bool {
	total := cypherlink.Amount(0)
	for i := range locks {
		var err error
		if total, err = total.Add(locks[i].Amount); err != nil {
			return false
		}
	}
	return total == locked
}

// Together does what both banks and the Validators ask together; the caller has verified their
// certificate. After an error the channel is as it was.
func (c *Channel) Together(rules *Rules, now Time, j *Joint) (moves Moves, err error) {
	if now.S >= j.ValidUntil {
		return moves, refuse(T5, reasonLate, "valid until %d, and it is %d", j.ValidUntil, now.S)
	}
	if _, record := j.Do.(Record); c.State != Opened && !record {
		return moves, refuse(T6, reasonFailed, "the channel is %s", c.State)
	}
	next := *c
	lanes, err := c.maximum(j.Points)
	if err == nil {
		next.Lanes = lanes
	} else if !c.covers(j.Points) {
		return moves, err
	}
	switch do := j.Do.(type) {
	case Record:
		if err != nil {
			return moves, err
		}
	case Release:
		if moves, err = next.release(do); err != nil {
			return moves, err
		}
	case Cut:
		if next.Lanes[do.Lane].Gen != do.Gen {
			return moves, refuse(T4, reasonFailed, "lane %s is not in generation %d", do.Lane, do.Gen)
		}
		next.raise(rules, do.Lane)
	case Settlement:
		if next.Lanes[A].Head.Locked != 0 || next.Lanes[B].Head.Locked != 0 {
			return moves, refuse(T6, reasonFailed, "a lane has open locks")
		}
		moves = next.payOut(rules)
	case Open:
		return moves, refuse(T0, reasonFailed, "the channel is %s", c.State)
	}
	*c = next
	return moves, nil
}

// covers tells whether no point is ahead of what stands, so that the maximum is what stands.
func (c *Channel) covers(points [2]Point) bool {
	return !c.advances(A, points[A].Slot()) && !c.advances(B, points[B].Slot())
}

func (c *Channel) release(r Release) (moves Moves, err error) {
	if r.Number != c.Releases+1 {
		return moves, refuse(T5, reasonFailed, "release %d after %d", r.Number, c.Releases)
	}
	funds, ok := sum(c.Funds[r.By], -int64(r.Amount))
	if !ok || r.Amount <= 0 {
		return moves, refuse(T5, reasonForm, "an amount of %d", r.Amount)
	}
	c.Funds[r.By] = funds
	c.Releases++
	if b, ok := balance(funds, c.Lanes[r.By.Other()].Head.Paid, c.Lanes[r.By].Head); !ok || b < 0 {
		return moves, refuse(T5, reasonFunds, "the balance of %s would be %d", r.By, b)
	}
	moves[r.By] = int64(r.Amount)
	return moves, nil
}

// New is the channel that Open makes. The caller has verified the certificate, that the asset and
// the banks' accounts exist, and that no channel has the id.
func New(rules *Rules, now Time, j *Joint) (*Channel, error) {
	o, ok := j.Do.(Open)
	switch {
	case !ok || j.Points != [2]Point{}:
		return nil, refuse(T0, reasonForm, "%T opens no channel", j.Do)
	case now.S >= j.ValidUntil:
		return nil, refuse(T0, reasonLate, "valid until %d, and it is %d", j.ValidUntil, now.S)
	case j.Channel != NewID(rules.Network, o.Banks, o.Asset, o.Nonce):
		return nil, refuse(T0, reasonForm, "the id is not that of banks, asset and nonce")
	case InOrder(o.Banks) != o.Banks || o.Banks[A] == o.Banks[B]:
		return nil, refuse(T0, reasonForm, "the banks are not two in order")
	case o.Accounts[A].Owner != o.Banks[A] || o.Accounts[B].Owner != o.Banks[B]:
		return nil, refuse(T0, reasonSigner, "an account is not its bank's")
	case o.Limits.Valid() != nil:
		return nil, refuse(T0, reasonForm, "%v", o.Limits.Valid())
	}
	c := &Channel{
		ID: j.Channel, Asset: o.Asset, Limits: o.Limits, Banks: o.Banks, Accounts: o.Accounts, State: Opened,
	}
	for i := range c.Lanes {
		c.Lanes[i].Head = c.start()
		c.Lanes[i].Signers = rules.Signers(c, Side(i))
	}
	return c, nil
}

// start is where both lanes begin.
func (c *Channel) start() Head { return Head{Hash: cypherlink.Hash(c.ID), Locks: LockRoot(nil)} }
