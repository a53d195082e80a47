package connector

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// The world of the explorer: two ledgers, three parties, everything that was ever sent, and
// a clock in whole seconds. It is a value: an action makes a changed copy.

type party uint8

type signed = ledger.SignedCommand

const (
	payer party = iota
	relay
	payee
	parties
)

func (p party) String() string { return []string{"payer", "relay", "payee"}[p] }

// book is the reference ledger: the rules of package ledger over a map, with one custody.
type book struct {
	leg           *terms.Leg
	debit, credit cypherlink.Amount
	custody       *ledger.Custody
	events        []ledger.Receipt
}

func (b *book) clone() *book {
	c := *b
	c.events = slices.Clip(b.events)
	return &c
}

func (b *book) Balance(a cypherlink.Account, _ cypherlink.Asset) (cypherlink.Amount, bool, error) {
	switch a {
	case b.leg.Debit:
		return b.debit, true, nil
	case b.leg.Credit:
		return b.credit, true, nil
	}
	return 0, false, nil
}

func (b *book) Custody(id ledger.CustodyID) (ledger.Custody, bool, error) {
	if b.custody == nil || b.custody.ID != id {
		return ledger.Custody{}, false, nil
	}
	return *b.custody, true, nil
}

func (b *book) Locked(c cypherlink.Condition) (bool, error) {
	return b.custody != nil && b.custody.Subject.Condition == c, nil
}

func (b *book) Write(c ledger.Custody) error {
	switch c.State {
	case ledger.Prepared:
		b.debit -= b.leg.Amount
	case ledger.Confirmed:
		b.credit += b.leg.Amount
	case ledger.Returned:
		b.debit += b.leg.Amount
	case ledger.Absent:
		return errors.New("a custody is written as absent")
	}
	b.custody = &c
	return nil
}

func (b *book) state() ledger.State {
	if b.custody == nil {
		return ledger.Absent
	}
	return b.custody.State
}

// message is a command that was sent; it stays, so it may arrive late, twice or never.
type message struct {
	leg       uint8
	kind      string // "prepare", "confirm", "return", or an attacker's
	from      party
	sentAt    int
	delivered bool
	command   ledger.Command
	signer    cypherlink.ParticipantID
}

// compare orders messages by what makes them the same message.
func (m message) compare(o message) int {
	return cmp.Or(cmp.Compare(m.leg, o.leg), cmp.Compare(m.kind, o.kind), cmp.Compare(m.from, o.from))
}

type member struct {
	log     int // an index of scene.logs
	cursor  [2]int
	down    bool
	downAt  int
	wake    int // the second in which the machine wants to hear the time
	crashes int
}

type world struct {
	now   int
	books [2]*book
	sent  []message // sorted by key
	party [parties]member
	// revealed: the payee's preimage is out.
	revealed bool
	// trouble is what the checkers found.
	trouble string
}

// scene is what stays the same during an exploration.
type scene struct {
	margins   Margins
	terms     *terms.Terms
	packet    []byte
	base      ilp.Address
	secret    ilp.ServerSecret
	charters  [2]*ledger.Charter
	skew      [2]int       // ledger clock minus true time, in seconds
	crashes   [parties]int // how often each party may go down
	synchrony *limits      // nil: anything may be late or lost for ever
	attackers bool
	horizon   int
	poor      bool            // the connector's destination account is empty at first, and is filled later
	gullible  bool            // mutant: the payer takes a returned source for the end
	ends      map[Outcome]int // how explored worlds end for the payer
	step      func(s *scene, p party, log []Event, now time.Time, in Input) (Effects, error)

	custody  [2]ledger.CustodyID
	logs     [][]Event
	logIndex map[string]int
	steps    map[stepKey]stepResult
	said     map[logKey]Outcome
	apply    func(s *scene, leg uint8, b *book, nowMS int64, c *signed) (ledger.Custody, error)
}

type logKey struct {
	party party
	log   int
}

type stepKey struct {
	logKey
	now   int
	input string
}

type stepResult struct {
	effects Effects
	log     int
	err     error
}

// limits are the bounds that a synchronous world keeps, in seconds.
type limits struct{ inclusion, answer, restart int }

const epoch = 1_000_000 // the second at which every exploration starts

func (s *scene) clock(now int) time.Time { return time.Unix(int64(epoch+now), 0) }

func (s *scene) ledgerMS(leg uint8, now int) int64 { return int64(epoch+now+s.skew[leg]) * 1000 }

type everybody struct{}

func (everybody) Key(cypherlink.ParticipantID) (key [32]byte, ok bool) { return key, true }

func id(name string) cypherlink.ParticipantID {
	return cypherlink.NewParticipantID([32]byte([]byte(fmt.Sprintf("%-32s", name))))
}

// newScene draws up the payment of the main job: 1,001.00 DE for 2,000.00 DC/EP.
func newScene(t testing.TB, sourceHold, destinationHold int64, m Margins) *scene {
	t.Helper()
	a, b, c := id("bank-a"), id("bank-b"), id("clearing")
	de := cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2}
	cn := cypherlink.Asset{Ledger: "cypherium", Code: "CNY", Scale: 2}
	s := &scene{margins: m, base: "private.cl.cypherium.bankb", step: honest, apply: rules}
	s.horizon = int(sourceHold) + 3
	s.secret = ilp.ServerSecret(bytes.Repeat([]byte{7}, 32))
	uetr, err := cypherlink.ParseUETR("eb6305c9-1f7f-49de-aed0-16487c27b42d")
	if err != nil {
		t.Fatal(err)
	}
	s.logs, s.logIndex = [][]Event{nil}, map[string]int{"": 0}
	s.ends = map[Outcome]int{}
	s.steps, s.said = map[stepKey]stepResult{}, map[logKey]Outcome{}
	s.terms = &terms.Terms{
		UETR: uetr, Payer: a, Payee: b, Connector: c, Quote: cypherlink.Hash{1},
		Legs: []terms.Leg{
			{
				Asset: de, Debit: cypherlink.Account{Owner: a}, Credit: cypherlink.Account{Owner: c},
				Amount: 100100, Expiry: epoch + sourceHold,
			},
			{
				Asset: cn, Debit: cypherlink.Account{Owner: c}, Credit: cypherlink.Account{Owner: b},
				Amount: 200000, Expiry: epoch + destinationHold,
			},
		},
	}
	draft := s.terms.Draft()
	random := bytes.NewReader(bytes.Repeat([]byte{9}, 256))
	address, shared, err := s.secret.NewAddress(random, s.base)
	if err != nil {
		t.Fatal(err)
	}
	p, err := shared.NewPrepare(random, address, 100100, time.Unix(epoch+sourceHold, 0),
		ilp.Delivery{Minimum: 200000, Content: draft[:]})
	if err != nil {
		t.Fatal(err)
	}
	s.terms.Condition = p.Condition
	if s.packet, err = p.Encode(); err != nil {
		t.Fatal(err)
	}
	for i, l := range s.terms.Legs {
		s.custody[i] = ledger.NewCustodyID(s.terms.Network, s.terms.Hash(), uint8(i))
		s.charters[i] = &ledger.Charter{
			Ledger: l.Asset.Ledger, Keys: everybody{},
			Policies: map[cypherlink.Asset]validator.Policy{l.Asset: {}},
		}
	}
	return s
}

func (s *scene) start() *world {
	w := &world{}
	for i := range s.terms.Legs {
		w.books[i] = &book{leg: &s.terms.Legs[i], debit: 500000, credit: 1000}
	}
	if s.poor {
		w.books[terms.Destination].debit, w.books[terms.Destination].credit = 0, 501000
	}
	for p := range parties {
		w.tell(s, p, Begin{Terms: s.terms, Packet: s.packet}, true)
	}
	if s.attackers {
		for leg := range uint8(2) {
			stranger := id("stranger")
			custody := s.custody[leg]
			for kind, command := range map[string]ledger.Command{
				"attack-return": &ledger.Return{ID: custody}, "attack-confirm": &ledger.Confirm{ID: custody},
			} {
				w.add(message{leg: leg, kind: kind, command: command, signer: stranger})
			}
		}
	}
	return w
}

// honest is one step of the real machine, restored from its log.
func honest(s *scene, p party, log []Event, now time.Time, in Input) (Effects, error) {
	var m interface {
		Step(time.Time, Input) (Effects, error)
	}
	var err error
	switch p {
	case payer:
		m, err = NewPayer(s.margins, log)
	case relay:
		m, err = NewRelay(s.margins, log)
	case payee, parties:
		m, err = NewPayee(s.margins, s.base, s.secret, log)
	}
	if err != nil {
		return Effects{}, err
	}
	return m.Step(now, in)
}

// rules is the real ledger: what expired is returned first, then the command is applied.
func rules(s *scene, leg uint8, b *book, nowMS int64, c *signed) (ledger.Custody, error) {
	return s.charters[leg].Apply(b, nowMS, c)
}

func (w *world) clone() *world {
	c := *w
	c.sent = slices.Clone(w.sent)
	c.books[0], c.books[1] = w.books[0].clone(), w.books[1].clone()
	return &c
}

func (w *world) add(m message) {
	i, found := slices.BinarySearchFunc(w.sent, m, message.compare)
	if !found {
		w.sent = slices.Insert(w.sent, i, m)
	}
}

// carryOut sends what a step asks for.
func (w *world) carryOut(s *scene, p party, e Effects) {
	owner := s.terms.Parties()[map[party]int{payer: 0, payee: 1, relay: 2}[p]]
	for _, sub := range e.Submit {
		leg := uint8(terms.Source)
		if sub.Leg.Asset.Ledger == s.terms.Legs[terms.Destination].Asset.Ledger {
			leg = terms.Destination
		}
		kind := "return"
		switch sub.Command.(type) {
		case *ledger.Prepare:
			kind = "prepare"
		case *ledger.Confirm:
			kind = "confirm"
		case *ledger.Return, *ledger.Leave, *ledger.Enter:
		}
		w.watch(s, p, leg, kind)
		m := message{leg: leg, kind: kind, from: p, command: sub.Command, signer: owner}
		if s.synchrony != nil {
			m.sentAt = w.now
		}
		w.add(m)
	}
	if s.synchrony == nil {
		return // in an asynchronous world every look-up may be answered at any time
	}
	for _, q := range e.Ask {
		leg := uint8(terms.Source)
		if q.Leg.Asset.Ledger == s.terms.Legs[terms.Destination].Asset.Ledger {
			leg = terms.Destination
		}
		if s.clock(w.now).Unix() < s.terms.Legs[leg].Expiry {
			continue // it asks once after a start, for events that it may have missed: here none is
		}
		w.add(message{leg: leg, kind: "ask", from: p, sentAt: w.now})
	}
}

// deliver hands a message to its ledger.
func (w *world) deliver(s *scene, i int) {
	m := w.sent[i]
	if s.synchrony != nil {
		w.sent[i].delivered, w.sent[i].sentAt = true, 0
	}
	b := w.books[m.leg]
	if m.kind == "ask" {
		w.answer(s, m.from, m.leg)
		return
	}
	command := &ledger.SignedCommand{Ledger: b.leg.Asset.Ledger, Signer: m.signer, Command: m.command}
	custody, err := s.apply(s, m.leg, b, s.ledgerMS(m.leg, w.now), command)
	switch {
	case err == nil:
		b.record(s, m.leg, custody, w.now)
	case errors.Is(err, ledger.ErrRepeated):
	case m.kind == "prepare":
		w.tell(s, m.from, Refusal{Leg: m.leg, Code: cypherlink.ErrorCode(err)}, true)
	}
}

func (b *book) record(s *scene, leg uint8, c ledger.Custody, now int) {
	b.events = append(b.events, ledger.Receipt{
		Ledger: b.leg.Asset.Ledger, Custody: c,
		Sequence: uint64(len(b.events) + 1), TimeMS: s.ledgerMS(leg, now),
	})
}

// answer is the reply to a look-up.
func (w *world) answer(s *scene, p party, leg uint8) {
	b := w.books[leg]
	receipt := ledger.Receipt{Ledger: b.leg.Asset.Ledger, TimeMS: s.ledgerMS(leg, w.now)}
	receipt.Custody.ID = s.custody[leg]
	if b.custody != nil {
		receipt.Custody = *b.custody
	}
	w.tell(s, p, Final{Receipt: receipt}, true)
}

// tell gives a party an input. With send false it goes down after persisting, before sending.
func (w *world) tell(s *scene, p party, in Input, send bool) {
	if w.party[p].down {
		return
	}
	r := s.remember(p, w.party[p].log, w.now, in)
	if r.err != nil {
		w.trouble = fmt.Sprintf("%s: %v", p, r.err)
		return
	}
	m := &w.party[p]
	m.log, m.wake = r.log, never
	if at := r.effects.WakeAt; s.synchrony == nil {
		m.wake = 0 // an asynchronous world ticks whenever it likes
	} else if !at.IsZero() {
		m.wake = int(at.Sub(s.clock(0))+time.Second-1) / int(time.Second)
	}
	if send {
		w.carryOut(s, p, r.effects)
		return
	}
	m.down, m.downAt = true, w.now
	m.crashes++
}

const never = 1 << 30

// remember is the step of a machine restored from that log, worked out once.
func (s *scene) remember(p party, log, now int, in Input) stepResult {
	key := stepKey{logKey: logKey{p, log}, now: now, input: fmt.Sprintf("%T", in)}
	switch in := in.(type) {
	case Final:
		c := &in.Receipt.Custody
		key.input = fmt.Sprintf("%s %s %d", in.Receipt.Ledger, c.State, in.Receipt.TimeMS)
	case Refusal:
		key.input = fmt.Sprintf("refusal %d %s", in.Leg, in.Code)
	case Begin, Tick:
	}
	if r, ok := s.steps[key]; ok {
		return r
	}
	effects, err := s.step(s, p, s.logs[log], s.clock(now), in)
	grown := append(slices.Clone(s.logs[log]), effects.Persist...)
	r := stepResult{effects: effects, err: err, log: s.intern(grown)}
	s.steps[key] = r
	return r
}

func (s *scene) intern(log []Event) int {
	var key []byte
	for _, e := range log {
		key = append(key, EncodeEvent(e)...)
	}
	i, ok := s.logIndex[string(key)]
	if !ok {
		i = len(s.logs)
		s.logs, s.logIndex[string(key)] = append(s.logs, log), i
	}
	return i
}

// observe lets a party hear the next event of a ledger.
func (w *world) observe(s *scene, p party, leg uint8, send bool) {
	m := &w.party[p]
	event := w.books[leg].events[m.cursor[leg]]
	m.cursor[leg]++
	w.tell(s, p, Final{Receipt: event}, send)
}

// advance moves time on by a second; each ledger then returns what has expired.
func (w *world) advance(s *scene) {
	w.now++
	if b := w.books[terms.Destination]; s.poor && w.now == 1 {
		b.credit -= b.leg.Amount
		b.debit += b.leg.Amount
	}
	for leg := range uint8(2) {
		b := w.books[leg]
		if b.custody == nil {
			continue
		}
		custody, changed, err := ledger.Expire(b, s.ledgerMS(leg, w.now), b.custody.ID)
		if err != nil {
			w.trouble = err.Error()
		}
		if changed {
			b.record(s, leg, custody, w.now)
		}
	}
}

// key is the world's identity for the explorer.
func (w *world) key() string {
	b := make([]byte, 0, 256)
	number := func(v int) { b = binary.AppendUvarint(b, uint64(v)) }
	flag := func(v bool) {
		if v {
			b = append(b, 1)
			return
		}
		b = append(b, 0)
	}
	number(w.now)
	flag(w.revealed)
	b = append(b, w.trouble...)
	for leg, k := range w.books {
		b = append(b, byte(k.state()))
		number(len(k.events))
		for i, e := range k.events {
			if min(w.party[0].cursor[leg], w.party[1].cursor[leg], w.party[2].cursor[leg]) <= i {
				number(int(e.TimeMS))
			}
		}
	}
	for _, m := range w.sent {
		b = append(b, m.leg, m.kind[0], m.kind[len(m.kind)-1], byte(m.from))
		number(m.sentAt)
		flag(m.delivered)
	}
	for _, m := range w.party {
		for _, v := range []int{m.cursor[0], m.cursor[1], m.downAt, m.wake, m.crashes, m.log} {
			number(v)
		}
		flag(m.down)
	}
	return string(b)
}
