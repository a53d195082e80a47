package channels

import (
	"fmt"
	"math"
	"slices"

	"github.com/cypherlink/cypherlink"
)

// choice is one thing that may happen next.
type choice struct {
	name string
	do   func(w *world)
}

// choices lists everything that may happen.
func (w *world) choices() []choice {
	var all []choice
	add := func(name string, do func(w *world)) { all = append(all, choice{name, do}) }
	for i := range w.pending {
		p := w.pending[i]
		add(fmt.Sprintf("the chain takes %s of %s", w.describe(p), p.by), func(w *world) {
			w.pending = slices.DeleteFunc(w.pending, func(q pend) bool {
				return q.by == p.by && q.joint == p.joint && same(q.action, p.action)
			})
			_ = w.include(p)
		})
	}
	for _, s := range []Side{A, B} {
		if w.parties[s] != nil {
			w.honest(s, add)
		}
	}
	if w.h.lone {
		w.malice(add)
	}
	w.time(add)
	return all
}

func (w *world) describe(p pend) string {
	if p.joint > 0 {
		return fmt.Sprintf("%T%v", w.h.joints[p.joint-1].Do, w.h.joints[p.joint-1].Do)
	}
	return describe(p.action)
}

// time: blocks follow each other while every honest bank keeps up, and every transaction of one is
// taken in time.
func (w *world) time(add func(string, func(*world))) {
	for _, p := range w.pending {
		if p.since+inclusion <= w.now.Height && w.parties[p.by] != nil && p.since < w.now.Height {
			return
		}
	}
	late := false
	for _, p := range w.parties {
		late = late || p != nil && p.view.Now.Height < w.final.Now.Height
	}
	if w.left.ticks > 0 && (!late || w.left.outages > 0) {
		add("a block", func(w *world) {
			w.left.ticks--
			if late {
				w.left.outages--
			}
			w.tick(1)
		})
	}
	if w.left.quick > 0 && !late {
		add("a block in the same second", func(w *world) { w.left.quick--; w.tick(0) })
	}
	if w.left.jumps > 0 && !late {
		add("a block after an outage", func(w *world) { w.left.jumps--; w.tick(5) })
	}
}

func payment(s Side, n int8) Operation {
	return Pay{Payment: cypherlink.UETR{byte(s), byte(n)}, Amount: 1}
}

// honest lists what a bank with a Party may do.
func (w *world) honest(s Side, add func(string, func(*world))) {
	p := w.parties[s]
	step := func(name string, do func(p *Party) (Effects, error)) {
		add(fmt.Sprintf("%s %s", s, name), func(w *world) { _ = w.does(s, do) })
	}
	for _, i := range w.inbox[s] {
		m := w.h.messages[i]
		if w.useful(p, m) {
			step(fmt.Sprintf("hears %s", sketch(m)), func(p *Party) (Effects, error) { return p.Hear(0, m) })
		}
	}
	if p.view.Now.Height != w.final.Now.Height {
		v := w.final
		step("sees the chain", func(p *Party) (Effects, error) { return p.See(0, v) })
	}
	w.orders(s, add)
	if a, ok := p.pair(); ok && w.left.anchors > 0 {
		add(fmt.Sprintf("%s anchors", s), func(w *world) {
			w.left.anchors--
			w.submit(s, pend{by: s, since: w.now.Height, action: a})
		})
	}
	if w.left.disputes > 0 && p.own().certified < p.own().last.Seq && p.ready(L10, s) == nil {
		add(fmt.Sprintf("%s loses patience", s), func(w *world) {
			w.left.disputes--
			_ = w.does(s, func(p *Party) (Effects, error) {
				return p.step(0, func() error { p.raise(s, p.own().last.Seq); return nil })
			})
		})
	}
	if w.left.closes > 0 && w.chain.State == Opened {
		add(fmt.Sprintf("%s closes", s), func(w *world) {
			w.left.closes--
			w.submit(s, pend{by: s, since: w.now.Height, action: Close{w.h.id}})
		})
	}
	for i, do := range w.h.asks {
		if w.asked[s]&(1<<i) == 0 {
			add(fmt.Sprintf("%s asks for %T", s, do), func(w *world) {
				w.asked[s] |= 1 << i
				_ = w.does(s, func(p *Party) (Effects, error) { return p.Ask(0, aim(do, s, p.own().gen)) })
			})
		}
	}
	w.restarts(s, add)
}

// aim makes an action that of a side.
func aim(do JointAction, s Side, gen uint32) JointAction {
	if _, ok := do.(Cut); ok {
		return Cut{s, gen}
	}
	return do
}

// useful leaves out messages that change nothing.
func (w *world) useful(p *Party, m Message) bool {
	switch m := m.(type) {
	case Offer:
		_, waits := p.waiting[m.Entry.Update.Seq]
		return m.Entry.Update.Gen == p.peer().gen && m.Entry.Update.Seq > p.peer().last.Seq && !waits
	case Countersignature:
		return m.Slot.Gen == p.own().gen && m.Slot.Seq > p.own().certified
	case Resync:
		return m.Echo == 0 || m.Echo == p.session && !p.synced
	default:
		return true
	}
}

func sketch(m Message) string {
	switch m := m.(type) {
	case Offer:
		u := &m.Entry.Update
		return fmt.Sprintf("offer %s:%d/%d %x paid %d dep %d", u.Lane, u.Gen, u.Seq, u.Hash[:3], u.Paid, u.Dep)
	case Countersignature:
		return fmt.Sprintf("countersignature %d/%d", m.Slot.Gen, m.Slot.Seq)
	case Proposal:
		return fmt.Sprintf("proposal %T%v", m.Joint.Do, m.Joint.Do)
	case Consent:
		return fmt.Sprintf("consent %T", m.Joint.Do)
	default:
		return fmt.Sprintf("%T", m)
	}
}

// orders lists what an honest bank may order.
func (w *world) orders(s Side, add func(string, func(*world))) {
	if w.left.pays[s] > 0 {
		for _, amount := range w.amounts() {
			op := payment(s, w.left.pays[s]).(Pay)
			op.Amount = amount
			w.order(s, add, fmt.Sprintf("pays %d", amount), []Operation{op}, func(w *world) { w.left.pays[s]-- })
		}
	}
	if w.left.locks[s] > 0 {
		n := w.left.locks[s]
		lock := w.lock(s, n)
		w.order(s, add, "locks", []Operation{lock}, func(w *world) { w.left.locks[s]-- })
	}
	if w.left.topUps[s] > 0 && w.chain.State == Opened {
		add(fmt.Sprintf("%s tops up", s), func(w *world) {
			w.left.topUps[s]--
			w.submit(s, pend{
				by: s, since: w.now.Height,
				action: Fund{Channel: w.h.id, Amount: 1, Number: w.chain.Fundings[s] + 1},
			})
		})
	}
	// A payee may learn the preimage of a lock, or give it up.
	p := w.parties[s]
	for _, l := range p.peer().last.locks {
		_, knows := p.known(l.Condition)
		failed := slices.Contains(p.d.failed, l.ID)
		if !knows && !failed {
			preimage := w.h.secrets[l.ID[1]]
			add(fmt.Sprintf("%s learns the preimage", s), func(w *world) {
				_ = w.does(s, func(p *Party) (Effects, error) { return p.Learn(0, preimage) })
			})
		}
		if !failed {
			add(fmt.Sprintf("%s gives up lock %s", s, l.ID.String()[:4]), func(w *world) {
				_ = w.does(s, func(p *Party) (Effects, error) { return p.Fail(0, l.ID) })
			})
		}
	}
}

// lock is the n-th lock of a side's lane.
func (w *world) lock(s Side, n int8) Lock {
	return Lock{
		ID: LockID{byte(s), byte(n)}, Amount: 1, Condition: w.h.secrets[n].Condition(),
		Expiry: startS + 5 + int64(n),
	}
}

func (w *world) amounts() []cypherlink.Amount {
	if len(w.h.amounts) > 0 {
		return w.h.amounts
	}
	return []cypherlink.Amount{1}
}

func (w *world) order(s Side, add func(string, func(*world)), name string, ops []Operation, spend func(*world)) {
	c := copyOf(w.parties[s])
	if _, err := c.step(0, func() error { return c.order(ops) }); err != nil {
		return
	}
	add(fmt.Sprintf("%s %s", s, name), func(w *world) {
		spend(w)
		_ = w.does(s, func(p *Party) (Effects, error) { return p.Order(0, ops) })
	})
}

// restarts lists the crashes: what is volatile is lost.
func (w *world) restarts(s Side, add func(string, func(*world))) {
	if w.left.restarts > 0 {
		add(fmt.Sprintf("%s crashes", s), func(w *world) {
			w.left.restarts--
			d := w.parties[s].d
			if w.h.forgetful {
				d.lanes = forget(d.lanes)
			}
			w.restart(s, d, false)
		})
	}
	if w.left.restores > 0 {
		if w.backup[s] == nil {
			add(fmt.Sprintf("%s backs up", s), func(w *world) {
				d := w.parties[s].d
				w.backup[s] = &d
			})
		} else {
			add(fmt.Sprintf("%s restores its backup", s), func(w *world) {
				w.left.restores--
				w.restart(s, *w.backup[s], w.h.lone)
			})
		}
	}
}

// forget loses the last entry of each lane that is not anchored: a log that is not durable.
func forget(lanes [2]laneLog) [2]laneLog {
	for i := range lanes {
		l := &lanes[i]
		if n := len(l.entries); n > 0 {
			last := tip{l.head(l.last.Seq - 1), l.locksAt(l.last.Seq - 1)}
			l.entries, l.last = l.entries[:n-1:n-1], last
			l.certified, l.bound = min(l.certified, last.Seq), min(l.bound, last.Seq)
		}
	}
	return lanes
}

func (w *world) restart(s Side, d durable, told bool) {
	old := w.parties[s]
	p := &Party{s: old.s, d: d, waiting: map[uint32]Entry{}}
	w.parties[s] = p
	v := *old.view
	session := old.session + 1
	_ = w.does(s, func(p *Party) (Effects, error) { return p.Start(0, session) })
	_ = w.does(s, func(p *Party) (Effects, error) { return p.See(0, v) })
	if told {
		_ = w.does(s, func(p *Party) (Effects, error) { return p.Restored(0) })
	}
	if w.h.lone { // the Byzantine bank says that it agrees
		m := Resync{Gens: [2]uint32{p.d.lanes[0].gen, p.d.lanes[1].gen}, Echo: session}
		_ = w.does(s, func(p *Party) (Effects, error) { return p.Hear(0, m) })
	}
}

// malice lists what a Byzantine bank may do: sign anything, and submit anything that it can put
// together from what the honest bank has signed.
func (w *world) malice(add func(string, func(*world))) {
	b := w.h.byzantine
	h := b.Other()
	p := w.parties[h]
	for _, hash := range w.signed[h] {
		e := w.h.updates[hash]
		if u := &e.Update; u.Lane == h && u.Gen == p.own().gen && u.Seq > p.own().certified && p.own().at(u.Seq) != nil {
			add(fmt.Sprintf("%s countersigns %d/%d", b, u.Gen, u.Seq), func(w *world) {
				_ = w.does(h, func(p *Party) (Effects, error) {
					return p.Hear(0, Countersignature{Slot: u.Slot(), Hash: u.Hash})
				})
			})
		}
	}
	if w.left.pays[b] > 0 {
		for _, e := range w.forgeries(b, p) {
			add(fmt.Sprintf("%s offers %s", b, sketch(Offer{e})), func(w *world) {
				w.left.pays[b]--
				w.h.updates[e.Update.Hash] = &e
				_ = w.does(h, func(p *Party) (Effects, error) { return p.Hear(0, Offer{e}) })
			})
		}
	}
	for _, hash := range w.signed[h] {
		if u := &w.h.updates[hash].Update; u.Lane == h && u.Gen == p.own().gen && u.Seq > p.own().certified {
			add(fmt.Sprintf("%s refuses %d/%d", b, u.Gen, u.Seq), func(w *world) {
				_ = w.does(h, func(p *Party) (Effects, error) {
					return p.Hear(0, Refusal{Slot: u.Slot(), Hash: u.Hash, Rule: L4})
				})
			})
		}
	}
	w.forgedAnchors(add)
	if w.left.disputes > 0 && w.chain.State == Opened {
		for _, lane := range []Side{A, B} {
			l := &w.chain.Lanes[lane]
			if l.Challenge != (Challenge{}) {
				continue
			}
			for _, seq := range []uint32{l.Head.Seq + 1, math.MaxUint32} {
				add(fmt.Sprintf("%s challenges %s at %d", b, lane, seq), func(w *world) {
					w.left.disputes--
					_ = w.include(pend{by: b, action: Dispute{w.h.id, lane, Slot{l.Gen, seq}}})
				})
			}
		}
	}
	if w.left.closes > 0 && w.chain.State == Opened {
		add(fmt.Sprintf("%s closes", b), func(w *world) {
			w.left.closes--
			_ = w.include(pend{by: b, action: Close{w.h.id}})
		})
	}
	w.secrets(add)
	w.conspire(add)
}

// secrets: a Byzantine payee may reveal at any time, on the chain or to the payer; a Byzantine bank
// supplies no list of its own accord.
func (w *world) secrets(add func(string, func(*world))) {
	b := w.h.byzantine
	h := b.Other()
	p := w.parties[h]
	for _, l := range p.own().last.locks {
		preimage := w.h.secrets[l.ID[1]]
		if _, ok := w.rulesNow().Revealed(l.Condition); !ok {
			add(fmt.Sprintf("%s reveals", b), func(w *world) { _ = w.include(pend{by: b, action: Reveal{preimage}}) })
		}
		if _, knows := p.known(l.Condition); !knows {
			add(fmt.Sprintf("%s tells the preimage", b), func(w *world) {
				_ = w.does(h, func(p *Party) (Effects, error) { return p.Hear(0, Secret{l.ID, preimage}) })
			})
			add(fmt.Sprintf("%s consents to unlock", b), func(w *world) {
				_ = w.does(h, func(p *Party) (Effects, error) { return p.Hear(0, Failure{l.ID}) })
			})
		}
	}
}

// forgeries are updates of a Byzantine payer: next ones, and second ones in a slot that is taken.
func (w *world) forgeries(b Side, honest *Party) []Entry {
	l := honest.peer()
	deps := []cypherlink.Amount{0, honest.own().relied(), honest.own().last.Paid}
	slices.Sort(deps)
	var all []Entry
	make1 := func(at tip, op Operation) {
		next, err := at.apply([]Operation{op})
		if err != nil {
			return
		}
		for _, dep := range slices.Compact(slices.Clone(deps)) {
			u := Update{
				Channel: w.h.id, Lane: b, Gen: l.gen, Prev: at.Hash, Dep: dep,
				Body: BodyRoot([]Operation{op}), Head: next.Head,
			}
			u.Seq = at.Seq + 1
			u.seal()
			e := Entry{Update: u, Operations: []Operation{op}}
			if w.h.threshold > 0 { // the Validators endorse whatever follows
				e.Endorsements = []Endorsement{{}}
			}
			all = append(all, e)
		}
	}
	for _, amount := range w.amounts() {
		op := payment(b, w.left.pays[b]).(Pay)
		op.Amount = amount
		make1(l.last, op)
		if w.left.equivocation > 0 && len(l.entries) > 0 {
			at := tip{l.head(l.last.Seq - 1), l.locksAt(l.last.Seq - 1)}
			make1(at, op)
		}
	}
	if w.left.locks[b] > 0 {
		make1(l.last, w.lock(b, 1))
	}
	for _, lock := range l.last.locks {
		make1(l.last, Unlock{lock.ID})
		if slices.Contains(honest.d.released, lock.ID) {
			make1(l.last, Settle{lock.ID, w.h.secrets[lock.ID[1]]})
		}
	}
	return all
}

// forgedAnchors are the pairs of updates that the honest bank has signed and that move a lane on.
func (w *world) forgedAnchors(add func(string, func(*world))) {
	if w.chain.State != Opened && w.chain.State != Closing {
		return
	}
	b := w.h.byzantine
	var heads [2][]*Certificate
	for i := range heads {
		heads[i] = []*Certificate{nil}
	}
	for _, hash := range w.signed[b.Other()] {
		u := w.h.updates[hash].Update
		if w.chain.advances(u.Lane, u.Slot()) {
			heads[u.Lane] = append(heads[u.Lane], &Certificate{Update: u, Endorsements: w.h.updates[hash].Endorsements})
		}
	}
	for _, one := range heads[A] {
		for _, two := range heads[B] {
			a := Anchor{w.h.id, [2]*Certificate{one, two}}
			if one == nil && two == nil {
				continue
			}
			c := w.chain
			if _, err := c.Apply(w.rulesNow(), w.now, bankID(b), a); err == nil {
				add(fmt.Sprintf("%s has it anchored: %s", b, describe(a)), func(w *world) {
					_ = w.include(pend{by: b, action: a})
				})
			}
		}
	}
}

// conspire lists the joint actions of a Byzantine bank: it signs whatever the honest one has signed,
// and proposes at any points.
func (w *world) conspire(add func(string, func(*world))) {
	b := w.h.byzantine
	h := b.Other()
	for _, i := range w.joined[h] {
		c := w.chain
		if _, err := c.Together(w.rulesNow(), w.now, &w.h.joints[i]); err == nil {
			add(fmt.Sprintf("%s has %T done", b, w.h.joints[i].Do), func(w *world) {
				_ = w.include(pend{by: b, joint: i + 1})
			})
		}
	}
	p := w.parties[h]
	for i, do := range w.h.asks {
		if w.asked[b]&(1<<i) != 0 {
			continue
		}
		aimed := []JointAction{do}
		switch d := do.(type) {
		case Release:
			d.By, d.Number = b, w.chain.Releases+1
			aimed = []JointAction{d}
		case Cut:
			aimed = []JointAction{Cut{b, p.peer().gen}, Cut{h, p.own().gen}}
		case Open, Record, Settlement:
		}
		var points [2][]Point
		for lane := range points {
			l := &p.d.lanes[lane]
			for seq := l.base.Seq; seq <= l.certified; seq++ {
				points[lane] = append(points[lane], l.point(seq))
			}
		}
		for _, do := range aimed {
			for _, one := range points[A] {
				for _, two := range points[B] {
					j := Joint{
						Channel: w.h.id, Proposer: b, Counter: uint64(i) + 1, Do: do,
						Points: [2]Point{one, two}, ValidUntil: w.final.Now.S + 2,
					}
					add(fmt.Sprintf("%s proposes %T%v at %d, %d", b, do, do, one.Seq, two.Seq), func(w *world) {
						w.asked[b] |= 1 << i
						_ = w.does(h, func(p *Party) (Effects, error) { return p.Hear(0, Proposal{Joint: j}) })
					})
				}
			}
		}
	}
}
