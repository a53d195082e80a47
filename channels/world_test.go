package channels

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
)

// A world is a channel, its chain, and two banks of which one may be Byzantine. The network is the
// set of all messages that were ever sent: delivering is a choice, losing is not to deliver, and
// repeating costs nothing. Signing and sending are apart: a crash between them is a restart before
// the message is delivered, and of a Byzantine bank's knowledge a superset is allowed.

// bounds of a world: what may happen how often.
type bounds struct {
	byzantine    Side // with lone
	lone         bool // the side byzantine has no Party: it does what can be signed
	funds        [2]int64
	pays         [2]int8 // orders of an honest bank; updates of a Byzantine one
	amounts      []cypherlink.Amount
	locks        [2]int8
	asks         []JointAction // that an honest bank, or a Byzantine one, may propose, once each
	topUps       [2]int8
	disputes     int8 // by impatience, or malice
	closes       int8
	restarts     int8
	restores     int8
	ticks        int8
	jumps        int8
	quick        int8 // blocks within the second of the one before
	outages      int8
	anchors      int8 // by an honest bank, of its own accord
	offChain     cypherlink.Amount
	equivocation int8
	uncertified  uint32
	reserve      cypherlink.Amount
	forgetful    bool // a mutant: what was persisted last is lost by a crash
	threshold    uint8
	window       uint64 // in blocks, where it is not windowBlock; seconds are one less
}

const (
	startS      = int64(100)
	windowBlock = uint64(3)
	inclusion   = 1 // blocks, and seconds
	lag         = 1 // blocks behind the last one
	lagS        = 2 // seconds behind the block in the making
)

// house is what all worlds of one exploration share: names for what was ever said.
type house struct {
	bounds
	id       ID
	messages []Message
	names    map[string]int
	joints   []Joint
	updates  map[cypherlink.Hash]*Entry
	secrets  []cypherlink.Preimage
	rules    Rules
	err      error
}

type world struct {
	h        *house
	chain    Channel
	now      Time
	revealed []Revealed
	final    View
	accounts [2]int64
	parties  [2]*Party
	backup   [2]*durable
	// inbox are the messages to a side; signed the updates that an honest side has signed and sent;
	// joined the joint actions that it has signed.
	inbox   [2][]int
	signed  [2][]cypherlink.Hash
	joined  [2][]int
	pending []pend
	// what checkers need
	void   []cypherlink.Hash
	gone   []LockID
	ended  [2][]uint32 // the head of each generation that has ended
	paid   []LockID
	refund []LockID
	left   bounds // what is left
	asked  [2]uint16
}

type pend struct {
	by     Side
	since  uint64
	action Action
	joint  int // index + 1 of a joint action
}

func verifyNothing([]cosi.IdentitySignature) []int { return nil }

func bankID(s Side) cypherlink.ParticipantID { return cypherlink.ParticipantID{byte(s) + 1} }

func newWorld(b bounds) *world {
	h := &house{bounds: b, names: map[string]int{}, updates: map[cypherlink.Hash]*Entry{}}
	for i := range 3 {
		h.secrets = append(h.secrets, cypherlink.Preimage{byte(i) + 1})
	}
	banks := [2]cypherlink.ParticipantID{bankID(A), bankID(B)}
	asset := cypherlink.Asset{Ledger: "chain", Code: "EUR", Scale: 2}
	h.id = NewID(cypherlink.NetworkID{}, banks, asset, 1)
	h.rules = Rules{Verify: verifyNothing, Signers: func(*Channel, Side) Signers {
		if b.threshold == 0 {
			return Signers{}
		}
		return Signers{Threshold: b.threshold, Validators: []ValidatorKey{{}}}
	}}
	limits := Limits{
		WindowS: int64(windowBlock) - 1, Blocks: windowBlock, Uncertified: max(b.uncertified, 2), Locks: 2, Locked: 100,
		Reserve: b.reserve, MinExpiryS: 2, MaxExpiryS: 1000,
	}
	open := &Joint{Channel: h.id, ValidUntil: startS + 1, Do: Open{
		Banks: banks, Asset: asset, Nonce: 1, Limits: limits,
		Accounts: [2]cypherlink.Account{{Owner: banks[0]}, {Owner: banks[1]}},
	}}
	w := &world{h: h, now: Time{S: startS, Height: 1}, left: b}
	c, err := New(&h.rules, w.now, open)
	if err != nil {
		panic(err)
	}
	c.Funds = b.funds
	if b.window > 0 { // shorter than is valid
		c.Limits.WindowS, c.Limits.Blocks = int64(b.window)-1, b.window
	}
	w.chain = *c
	w.accounts = [2]int64{10, 10}
	w.final = View{Channel: *c, Now: w.now, Fresh: true}
	w.now = Time{S: startS + 1, Height: 2}
	for s := range w.parties {
		if b.lone && Side(s) == b.byzantine {
			continue
		}
		p := NewParty(h.settings(Side(s)), c, nil)
		w.parties[s] = p
		p.synced = true
		v := w.final
		if _, err := p.See(0, v); err != nil {
			panic(err)
		}
	}
	return w
}

func (h *house) settings(s Side) Settings {
	return Settings{
		Channel: h.id, Side: s, LagS: lagS, InclusionS: inclusion, JointS: 2, OffChain: h.offChain,
		Verify: verifyNothing,
	}
}

func (w *world) clone() *world {
	c := *w
	for s := range c.inbox {
		c.inbox[s] = slices.Clip(c.inbox[s])
		c.signed[s] = slices.Clip(c.signed[s])
		c.joined[s] = slices.Clip(c.joined[s])
		c.ended[s] = slices.Clip(c.ended[s])
	}
	c.pending, c.void, c.gone = slices.Clone(c.pending), slices.Clip(c.void), slices.Clip(c.gone)
	c.paid, c.refund = slices.Clip(c.paid), slices.Clip(c.refund)
	c.revealed = slices.Clip(c.revealed)
	return &c
}

// copyOf is a party that a step may change.
func copyOf(p *Party) *Party {
	c := *p
	c.waiting = maps.Clone(p.waiting)
	for i := range c.d.lanes { // which grow, and are certified, in their place
		c.d.lanes[i].entries = slices.Clone(c.d.lanes[i].entries)
	}
	c.drafts, c.told = slices.Clone(p.drafts), slices.Clip(p.told)
	c.d.preimages, c.d.released = slices.Clip(p.d.preimages), slices.Clip(p.d.released)
	c.d.failed, c.d.gone = slices.Clip(p.d.failed), slices.Clip(p.d.gone)
	if p.view != nil {
		v := *p.view
		c.view = &v
	}
	return &c
}

var errViolation = errors.New("violation")

func (w *world) violation(format string, args ...any) {
	if w.h.err == nil {
		w.h.err = fmt.Errorf("%w: %s", errViolation, fmt.Sprintf(format, args...))
	}
}

// does runs a step of an honest bank and takes its effects.
func (w *world) does(s Side, step func(p *Party) (Effects, error)) error {
	p := copyOf(w.parties[s])
	w.parties[s] = p
	e, err := step(p)
	for _, m := range e.Send {
		w.say(s, m)
	}
	for _, entry := range e.Endorse {
		w.endorse(s, entry)
	}
	for _, a := range e.Submit {
		w.submit(s, pend{by: s, since: w.now.Height, action: a})
	}
	for _, j := range e.Together {
		w.submit(s, pend{by: s, since: w.now.Height, joint: w.h.joint(j) + 1})
	}
	for _, ev := range e.Persist {
		w.persisted(s, ev)
	}
	for _, f := range e.Facts {
		w.fact(s, f)
	}
	return err
}

func (w *world) persisted(s Side, e Event) {
	switch e := e.(type) {
	case Joined:
		w.joined[s] = insert(w.joined[s], w.h.joint(e.Joint))
	case Wrote:
		w.h.updates[e.Entry.Update.Hash] = &e.Entry
	default:
	}
}

func (w *world) fact(s Side, f Fact) {
	switch f.Kind {
	case FactVoid:
		if !slices.Contains(w.void, f.Update.Hash) {
			w.void = append(w.void, f.Update.Hash)
		}
		for _, op := range f.Operations {
			if l, ok := op.(Lock); ok && f.Lane != s && slices.Contains(w.parties[s].d.released, l.ID) {
				w.violation("lock %s is void, and its preimage is released", l.ID)
			}
		}
		if w.isAnchored(f.Update.Hash, f.Lane) {
			w.violation("%s says that update %d/%d of lane %s is void: it is anchored",
				s, f.Update.Gen, f.Update.Seq, f.Lane)
		}
	case FactGone:
		w.gone = append(w.gone, f.Lock.ID)
		if slices.Contains(w.paid, f.Lock.ID) {
			w.violation("%s fails what stands behind lock %s, which is paid", s, f.Lock.ID)
		}
	case FactBound, FactAnchored, FactDropped, FactSecret:
	}
}

// isAnchored tells whether the update is the lane's head, or before it.
func (w *world) isAnchored(u cypherlink.Hash, lane Side) bool {
	return w.descends(w.chain.Lanes[lane].Head.Hash, u)
}

// descends tells whether u is h, or before it.
func (w *world) descends(h, u cypherlink.Hash) bool {
	for {
		if h == u {
			return true
		}
		e, ok := w.h.updates[h]
		if !ok {
			return false
		}
		h = e.Update.Prev
	}
}

func insert(list []int, i int) []int {
	at, ok := slices.BinarySearch(list, i)
	if ok {
		return list
	}
	return slices.Insert(slices.Clip(list), at, i)
}

// say adds a message to the set of those to the other side.
func (w *world) say(s Side, m Message) {
	var name string
	switch m := m.(type) {
	case Offer:
		name = "o" + string(m.Entry.Update.Hash[:])
		w.sign(s, &m.Entry)
	case Countersignature:
		name = "c" + string(m.Hash[:])
		if e := w.h.updates[m.Hash]; e != nil {
			w.sign(s, e)
		}
	case Refusal:
		return
	case Resync:
		name = fmt.Sprintf("r%d%v", s, m)
	case Proposal:
		name = fmt.Sprint("p", w.h.joint(m.Joint))
	case Consent:
		name = fmt.Sprint("y", w.h.joint(m.Joint))
	case Secret:
		name = "s" + m.Lock.String()
	case Failure:
		name = "f" + m.Lock.String()
	}
	w.inbox[s.Other()] = insert(w.inbox[s.Other()], w.h.message(name, m))
}

func (h *house) message(name string, m Message) int {
	i, ok := h.names[name]
	if !ok {
		i = len(h.messages)
		h.messages = append(h.messages, m)
		h.names[name] = i
	}
	return i
}

func (h *house) joint(j Joint) int {
	i := slices.Index(h.joints, j)
	if i < 0 {
		i = len(h.joints)
		h.joints = append(h.joints, j)
	}
	return i
}

// sign notes a signature of an honest bank that has left, and that it has left no other one in the
// slot.
func (w *world) sign(s Side, e *Entry) {
	w.h.updates[e.Update.Hash] = e
	if slices.Contains(w.signed[s], e.Update.Hash) {
		return
	}
	for _, h := range w.signed[s] {
		other := &w.h.updates[h].Update
		// Of two honest banks, one that was restored may write twice before anybody can show it
		// what it wrote; nobody then signs both.
		certified := w.h.lone || slices.Contains(w.signed[s.Other()], h) &&
			slices.Contains(w.signed[s.Other()], e.Update.Hash)
		if other.Lane == e.Update.Lane && other.Slot() == e.Update.Slot() && certified {
			w.violation("%s signs two updates in slot %+v of lane %s", s, e.Update.Slot(), e.Update.Lane)
		}
	}
	w.signed[s] = append(w.signed[s], e.Update.Hash)
}

func (w *world) submit(s Side, p pend) {
	for _, q := range w.pending {
		if q.by == p.by && q.joint == p.joint && same(q.action, p.action) {
			return
		}
	}
	if p.joint > 0 {
		p.by = s
	}
	w.pending = append(w.pending, p)
}

func same(a, b Action) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return fmt.Sprint(describe(a)) == fmt.Sprint(describe(b))
}

func describe(a Action) string {
	if an, ok := a.(Anchor); ok {
		text := "anchor"
		for i, c := range an.Heads {
			if c != nil {
				text += fmt.Sprintf(" %s:%d/%d %x", Side(i), c.Update.Gen, c.Update.Seq, c.Update.Hash[:3])
			}
		}
		return text
	}
	return fmt.Sprintf("%T%v", a, a)
}

// endorse is a Validator that signs whatever follows.
func (w *world) endorse(s Side, e Entry) {
	w.h.updates[e.Update.Hash] = &e
	err := w.does(s, func(p *Party) (Effects, error) {
		return p.Endorsed(0, e.Update.Hash, []Endorsement{{}})
	})
	if err != nil {
		w.violation("endorsement refused: %v", err)
	}
}

// rules are the chain's, at this moment of the world.
func (w *world) rulesNow() *Rules {
	r := w.h.rules
	r.Revealed = func(c cypherlink.Condition) (int64, bool) {
		for _, x := range w.revealed {
			if x.Preimage.Condition() == c {
				return x.S, true
			}
		}
		return 0, false
	}
	return &r
}

// include puts a transaction into the block in the making.
func (w *world) include(p pend) error {
	before := w.chain
	if r, ok := p.action.(Reveal); ok {
		if !slices.ContainsFunc(w.revealed, func(x Revealed) bool { return x.Preimage == r.Preimage }) {
			w.revealed = append(w.revealed, Revealed{r.Preimage, w.now.S})
		}
		return nil
	}
	var moves Moves
	var err error
	if p.joint > 0 {
		moves, err = w.chain.Together(w.rulesNow(), w.now, &w.h.joints[p.joint-1])
	} else {
		moves, err = w.chain.Apply(w.rulesNow(), w.now, bankID(p.by), p.action)
	}
	if err == nil {
		w.moved(before, moves)
	} else if w.chain.ID != before.ID || !bytes.Equal(w.chain.Encode(), before.Encode()) {
		w.violation("a refused transaction changes the channel")
	}
	return err
}

// moved checks what the chain did.
func (w *world) moved(before Channel, moves Moves) {
	for i := range moves {
		w.accounts[i] += moves[i]
	}
	total := w.accounts[0] + w.accounts[1] + w.chain.Total()
	if want := w.h.funds[0] + w.h.funds[1] + 20; total != want {
		w.violation("there are %d, there were %d", total, want)
	}
	for i := range w.chain.Lanes {
		lane := Side(i)
		l, was := &w.chain.Lanes[i], &before.Lanes[i]
		if w.chain.Balance(lane) < 0 {
			w.violation("the balance of %s is %d", lane, w.chain.Balance(lane))
		}
		if l.Head.Hash != was.Head.Hash {
			w.headMoved(lane, was.Head.Hash, l.Head.Hash)
		}
		if w.chain.State >= Frozen && before.State < Frozen || l.Gen != was.Gen {
			if l.Gen != was.Gen || len(w.ended[i]) == int(l.Gen) {
				w.ended[i] = append(w.ended[i], l.Head.Seq)
			}
		}
	}
}

func (w *world) headMoved(lane Side, from, to cypherlink.Hash) {
	if !w.descends(to, from) {
		w.violation("lane %s moves to a head that does not follow the one before", lane)
	}
	for _, v := range w.void {
		if w.descends(to, v) {
			w.violation("a void update of lane %s is anchored", lane)
		}
	}
	for h := to; h != from; {
		e, ok := w.h.updates[h]
		if !ok {
			break
		}
		for _, op := range e.Operations {
			switch op := op.(type) {
			case Settle:
				w.settled(op.Lock)
			case Unlock:
				w.unlocked(lane, op.Lock)
			case Pay, Lock:
			}
		}
		h = e.Update.Prev
	}
}

func (w *world) settled(id LockID) {
	w.paid = append(w.paid, id)
	if slices.Contains(w.gone, id) {
		w.violation("lock %s is paid, and what stands behind it has failed", id)
	}
}

// unlocked: an honest payee that has released the preimage is paid.
func (w *world) unlocked(lane Side, id LockID) {
	w.refund = append(w.refund, id)
	if p := w.parties[lane.Other()]; p != nil && slices.Contains(p.d.released, id) {
		w.violation("lock %s goes back, and its preimage is released", id)
	}
}

// tick closes the block and begins the next one, some seconds later.
func (w *world) tick(seconds int64) {
	w.final = View{
		Channel: w.chain, Now: w.now, Fresh: true, Revealed: slices.Clone(w.revealed),
	}
	w.now = Time{S: w.now.S + seconds, Height: w.now.Height + 1}
	before := w.chain
	moves, changed := w.chain.Expire(w.rulesNow(), w.now)
	if changed {
		if w.chain.State == Closed {
			w.paidOut(before, moves)
		}
		w.moved(before, moves)
	}
	for s, p := range w.parties {
		if p != nil && p.view.Fresh && w.final.Now.Height > p.view.Now.Height+lag {
			c := copyOf(p)
			c.view.Fresh = false
			w.parties[s] = c
		}
	}
}

// paidOut checks what became of the locks of a frozen channel.
func (w *world) paidOut(before Channel, moves Moves) {
	want := Moves{before.Balance(A), before.Balance(B)}
	for i := range before.Lanes {
		payee := w.parties[Side(i).Other()]
		want[i] += int64(before.Lanes[i].Head.Locked)
		for _, l := range before.Lanes[i].Listed {
			s, ok := w.rulesNow().Revealed(l.Condition)
			if ok && s < l.Expiry {
				w.settled(l.ID)
				want[i] -= int64(l.Amount)
				want[1-i] += int64(l.Amount)
			} else if payee != nil && slices.Contains(payee.d.released, l.ID) {
				w.violation("lock %s goes back, and its preimage is released", l.ID)
			}
		}
		if payee != nil && before.Lanes[i].Head.Locked > 0 && before.Lanes[i].Listed == nil {
			w.violation("the locks of lane %s go back without a list", Side(i))
		}
	}
	if moves != want {
		w.violation("the channel pays out %v, it should be %v", moves, want)
	}
}

// check holds after every step.
func (w *world) check() {
	for s, p := range w.parties {
		if p == nil {
			continue
		}
		for i := range p.d.lanes {
			l := &p.d.lanes[i]
			if int(l.gen) < len(w.ended[i]) && l.bound > w.ended[i][l.gen] {
				w.violation("%s holds update %d of lane %s, generation %d, for bound: it ended at %d",
					Side(s), l.bound, Side(i), l.gen, w.ended[i][l.gen])
			}
		}
		w.bestAccepted(p)
	}
}

// bestAccepted: the chain takes an honest bank's best pair at any time.
func (w *world) bestAccepted(p *Party) {
	if w.chain.State != Opened && w.chain.State != Closing {
		return
	}
	a := Anchor{Channel: w.h.id}
	for i := range a.Heads {
		l := &p.d.lanes[i]
		if w.chain.Lanes[i].Gen == l.gen {
			if e := l.at(l.certified); e != nil {
				a.Heads[i] = p.certificate(e)
			}
		}
	}
	c := w.chain
	_, err := c.Apply(w.rulesNow(), w.now, bankID(p.s.Side), a)
	if err != nil && !errors.Is(err, ledger.ErrRepeated) {
		w.violation("the best pair of %s is refused: %v", p.s.Side, err)
	}
}

// key names the state.
func (w *world) key() [16]byte {
	b := make([]byte, 0, 2048)
	u := func(v uint64) { b = binary.AppendUvarint(b, v) }
	b = append(b, w.chain.Encode()...)
	u(uint64(w.now.S))
	u(w.now.Height)
	u(w.final.Now.Height)
	b = append(b, w.final.Channel.Encode()...)
	for _, r := range w.revealed {
		b = append(b, r.Preimage[0], byte(r.S))
	}
	u(uint64(len(w.final.Revealed)))
	for s, p := range w.parties {
		u(uint64(w.accounts[s]))
		for _, i := range w.inbox[s] {
			u(uint64(i) + 1)
		}
		u(0)
		for _, i := range w.joined[s] {
			u(uint64(i) + 1)
		}
		u(0)
		for _, h := range w.signed[s] {
			b = append(b, h[:4]...)
		}
		u(uint64(w.asked[s]))
		u(uint64(w.left.pays[s]))
		u(uint64(w.left.locks[s]))
		u(uint64(w.left.topUps[s]))
		if p != nil {
			b = p.appendKey(b)
		}
		if w.backup[s] != nil {
			b = w.backup[s].appendKey(append(b, 'k'))
		}
	}
	for _, p := range w.pending {
		b = append(b, byte(p.by), byte(p.since), byte(p.joint))
		if p.action != nil {
			b = append(b, describe(p.action)...)
		}
	}
	l := &w.left
	b = append(b, byte(l.disputes), byte(l.closes), byte(l.restarts), byte(l.restores), byte(l.ticks),
		byte(l.jumps), byte(l.quick), byte(l.outages), byte(l.anchors), byte(l.equivocation))
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

func (d *durable) appendKey(b []byte) []byte {
	for i := range d.lanes {
		l := &d.lanes[i]
		b = binary.AppendUvarint(b, uint64(l.gen))
		b = append(b, l.base.Hash[:4]...)
		for j := range l.entries {
			b = append(b, l.entries[j].Update.Hash[:4]...)
		}
		b = append(b, byte(l.certified), byte(l.bound), bit(l.listed), bit(l.barred))
	}
	for i := range d.joints {
		b = append(b, byte(d.joints[i].Counter), byte(d.joints[i].Proposer), byte(d.joints[i].ValidUntil))
	}
	b = append(b, byte(d.counter), bit(d.stopped), byte(len(d.preimages)))
	for _, id := range d.released {
		b = append(b, 'r', id[0])
	}
	for _, id := range d.failed {
		b = append(b, 'f', id[0])
	}
	for _, id := range d.gone {
		b = append(b, 'g', id[0])
	}
	return b
}

func (p *Party) appendKey(b []byte) []byte {
	b = p.d.appendKey(b)
	b = append(b, bit(p.synced), bit(p.disputed[0]), bit(p.disputed[1]), bit(p.proposal != nil))
	seqs := make([]uint32, 0, len(p.waiting))
	for seq := range p.waiting {
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	for _, seq := range seqs {
		e := p.waiting[seq]
		b = append(b, e.Update.Hash[:4]...)
	}
	b = append(b, byte(p.session), byte(len(p.told)))
	if p.view != nil {
		b = append(b, byte(p.view.Now.Height), bit(p.view.Fresh))
	}
	return b
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
