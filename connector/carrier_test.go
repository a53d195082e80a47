package connector

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// The explorer of the ramp runs every order of sending, delivery, answers, ticks and seconds, every
// loss and repetition, and a crash before and after each thing that is made durable or sent, over
// the real carrier and the real rules. Its checkers know nothing of the carrier's inside.

// pier is one ledger with one owner's account, as the rules see it. It is a value.
type pier struct {
	balance, held cypherlink.Amount
	passed        []ledger.Crossing
}

// pierBook is a pier while a command is applied.
type pierBook struct {
	*pier
	network cypherlink.NetworkID
}

func (b pierBook) Balance(cypherlink.Account, cypherlink.Asset) (cypherlink.Amount, bool, error) {
	return b.balance, true, nil
}

func (b pierBook) Held(cypherlink.Asset) (cypherlink.Amount, error) { return b.held, nil }

func (b pierBook) Crossing(id ledger.CrossingID) (ledger.Crossing, bool, error) {
	for _, x := range b.passed {
		if x.ID(b.network) == id {
			return x, true, nil
		}
	}
	return ledger.Crossing{}, false, nil
}

func (b pierBook) Cross(asset cypherlink.Asset, x ledger.Crossing) error {
	amount := x.Amount
	if x.Asset == asset {
		amount = -amount
	}
	b.balance += amount
	// an escrow fills when value leaves for the chain, the chain's supply when it comes in
	if asset.Ledger == "de" {
		amount = -amount
	}
	b.held += amount
	b.passed = append(slices.Clone(b.passed), x)
	return nil
}

// ferry is the world of one crossing.
type ferry struct {
	second  int
	piers   [2]pier // that it leaves, and that it comes to
	sent    []ledger.Command
	log     []Stride
	crashes int
	poor    bool // the account is filled later
	trouble string
}

// strait is what stays the same.
type strait struct {
	ramp     *ledgertest.Ramp
	charters [2]ledger.Charter
	crossing ledger.Crossing
	opening  [2]pier
	expiry   int
	crashes  int
	burns    ledgertest.Burns
	step     func(s *strait, f *ferry, in CarrierInput) (CarrierEffects, error)
	// refused tells the carrier of a refusal that does not count: a mutant listens to it.
	refused CarrierInput
}

const strand = 2_000_000 // the second at which a world starts

// newStrait is a deposit or, the other way, a burn; a poor owner's account is filled later.
func newStrait(burn bool) *strait {
	r := ledgertest.NewRamp("cypherium")
	s := &strait{ramp: r, expiry: 2, crashes: 2, burns: ledgertest.Burns{}, step: restored}
	external, chain := r.External(s.burns), r.OnChain()
	s.charters = [2]ledger.Charter{external, chain}
	s.crossing = r.Deposit(1, 700, strand+int64(s.expiry))
	s.opening = [2]pier{{balance: 2_000}, {}}
	if burn {
		s.charters = [2]ledger.Charter{chain, external}
		s.crossing = r.Burn(1, 700, strand+int64(s.expiry))
		s.opening = [2]pier{{balance: 2_000, held: 2_000}, {held: 2_000}}
	}
	s.burns["proof"] = s.crossing
	return s
}

// evidence is what the ledger that it left says of it.
func (s *strait) evidence() []byte {
	if s.crossing.Asset == s.ramp.Claim {
		return []byte("proof")
	}
	return s.ramp.Record(s.crossing, 1, strand*1000).Encode()
}

// restored steps the carrier of the log.
func restored(_ *strait, f *ferry, in CarrierInput) (CarrierEffects, error) {
	c, err := NewCarrier(time.Second, f.log)
	if err != nil {
		return CarrierEffects{}, err
	}
	return c.Step(time.Unix(strand+int64(f.second), 0), in)
}

func (f *ferry) fail(what string) {
	if f.trouble == "" {
		f.trouble = what
	}
}

// tell steps the carrier; a crash comes before what it says is durable, before it is sent, or not.
func (f *ferry) tell(s *strait, in CarrierInput, durable, sends bool) {
	effects, err := s.step(s, f, in)
	if err != nil {
		f.fail(err.Error())
		return
	}
	if !durable {
		return
	}
	f.log = append(slices.Clone(f.log), effects.Persist...)
	if effects.Submit == nil || !sends {
		return
	}
	if !slices.ContainsFunc(f.sent, func(c ledger.Command) bool { return reflect.DeepEqual(c, effects.Submit) }) {
		f.sent = append(slices.Clone(f.sent), effects.Submit)
	}
}

// deliver hands a command to its ledger.
func (f *ferry) deliver(s *strait, command ledger.Command) {
	at := 0
	if _, enter := command.(*ledger.Enter); enter {
		at = 1
	}
	c := &ledger.SignedCommand{
		Network: s.ramp.Network, Ledger: s.charters[at].Ledger, Signer: s.ramp.Alice.ID, Command: command,
	}
	ledgertest.Resign(s.ramp.Alice, c)
	if err := s.charters[at].Authenticate(c)[0]; err != nil {
		f.fail(err.Error())
		return
	}
	p := f.piers[at]
	if _, err := s.charters[at].Cross(pierBook{&p, s.ramp.Network}, f.nowMS(), c); err == nil {
		f.piers[at] = p
	}
}

func (f *ferry) nowMS() int64 { return (strand + int64(f.second)) * 1000 }

func (f *ferry) has(at int, x ledger.Crossing) bool { return slices.Contains(f.piers[at].passed, x) }

// actions are everything that can happen next.
func (f *ferry) actions(s *strait) []func(*ferry) {
	var all []func(*ferry)
	tell := func(in CarrierInput) {
		all = append(all, func(n *ferry) { n.tell(s, in, true, true) })
		if f.crashes < s.crashes {
			all = append(all,
				func(n *ferry) { n.crashes++; n.tell(s, in, false, false) },
				func(n *ferry) { n.crashes++; n.tell(s, in, true, false) })
		}
	}
	tell(Carry{s.crossing})
	tell(CarrierTick{})
	for _, c := range f.sent {
		all = append(all, func(n *ferry) { n.deliver(s, c) })
	}
	// answers come late, twice or never, and what they say stays true
	if len(f.log) > 0 {
		for at, l := range []cypherlink.LedgerID{s.charters[0].Ledger, s.charters[1].Ledger} {
			if f.has(at, s.crossing) {
				tell(Passed{ledger.Passage{Ledger: l, Crossing: s.crossing, Sequence: 1, Evidence: s.evidence()}})
			}
		}
		if f.second >= s.expiry && !f.has(0, s.crossing) {
			tell(Overdue{})
		}
		if s.refused != nil && f.piers[0].balance < s.crossing.Amount && !f.has(0, s.crossing) {
			tell(s.refused)
		}
	}
	if f.second <= s.expiry {
		all = append(all, func(n *ferry) { n.second++ })
	}
	if f.poor {
		all = append(all, func(n *ferry) { n.poor, n.piers[0].balance = false, n.piers[0].balance+2_000 })
	}
	return all
}

// check holds the two ledgers and the carrier's word against each other.
func (f *ferry) check(s *strait) {
	onTheWay := cypherlink.Amount(0)
	for _, x := range f.piers[0].passed {
		if !f.has(1, x) {
			onTheWay += x.Amount
		}
	}
	want := s.opening[0].balance
	if f.poor {
		want -= 2_000
	}
	if got := f.piers[0].balance + onTheWay + f.piers[1].balance; got != want || f.piers[0].balance < 0 {
		f.fail(fmt.Sprintf("%d in all, at first %d", got, want))
	}
	external, chain := f.piers[0], f.piers[1]
	if s.crossing.Asset == s.ramp.Claim {
		external, chain = chain, external
	}
	if external.held != chain.held+onTheWay || chain.held != chain.balance {
		f.fail(fmt.Sprintf("escrow %d, on the chain %d and %d, on the way %d",
			external.held, chain.held, chain.balance, onTheWay))
	}
	if len(f.piers[0].passed) > 1 || len(f.piers[1].passed) > len(f.piers[0].passed) {
		f.fail("it passes more than once")
	}
	c, err := NewCarrier(time.Second, f.log)
	if err != nil {
		f.fail(err.Error())
		return
	}
	left, in := f.has(0, s.crossing), f.has(1, s.crossing)
	switch c.Stage() {
	case Arriving:
		if !left {
			f.fail("the carrier says that it has left")
		}
	case Arrived:
		if !in {
			f.fail("the carrier says that it has arrived")
		}
	case Lapsed:
		if left || f.second < s.expiry {
			f.fail("the carrier says that it never leaves")
		}
	case Leaving:
	default:
	}
}

// ends plays on with nothing lost, and wants the crossing to end.
func (f *ferry) ends(s *strait) {
	n := *f
	n.second = max(n.second, s.expiry)
	for range 4 {
		n.tell(s, Carry{s.crossing}, true, true)
		n.tell(s, CarrierTick{}, true, true)
		for _, c := range n.sent {
			n.deliver(s, c)
		}
		for at := range 2 {
			if n.has(at, s.crossing) {
				n.tell(s, Passed{ledger.Passage{
					Ledger: s.charters[at].Ledger, Crossing: s.crossing, Sequence: 1, Evidence: s.evidence(),
				}}, true, true)
			}
		}
		if !n.has(0, s.crossing) {
			n.tell(s, Overdue{}, true, true)
		}
	}
	n.check(s)
	last := n.log[len(n.log)-1].Stage
	if n.trouble != "" || n.has(0, s.crossing) != n.has(1, s.crossing) || last != Arrived && last != Lapsed {
		f.fail(fmt.Sprintf("from here it does not end: %s %s", last, n.trouble))
	}
}

func (f *ferry) key() string {
	var b strings.Builder
	fmt.Fprint(&b, f.second, f.crashes, f.poor, f.piers[0].balance, f.piers[0].held, f.piers[1].balance, f.piers[1].held)
	for _, p := range f.piers {
		fmt.Fprint(&b, "|", len(p.passed))
		for _, x := range p.passed {
			fmt.Fprint(&b, x.Nonce)
		}
	}
	var sent []string
	for _, c := range f.sent {
		id := c.About(cypherlink.NetworkID{})
		sent = append(sent, fmt.Sprintf("%T%x", c, id[:4]))
	}
	slices.Sort(sent)
	fmt.Fprint(&b, sent)
	for _, l := range f.log {
		fmt.Fprint(&b, l.Stage, l.Crossing.Nonce)
	}
	return b.String()
}

// explore visits every reachable world and gives the first trouble.
func (s *strait) explore(poor bool) (trouble string, visited int) {
	first := &ferry{piers: s.opening, poor: poor}
	if poor {
		first.piers[0].balance = 0
	}
	seen := map[string]bool{first.key(): true}
	for queue := []*ferry{first}; len(queue) > 0; {
		f := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		visited++
		if f.ends(s); f.trouble != "" {
			return f.trouble, visited
		}
		for _, act := range f.actions(s) {
			n := *f
			act(&n)
			n.check(s)
			if n.trouble != "" {
				return n.trouble, visited
			}
			if k := n.key(); !seen[k] {
				seen[k] = true
				queue = append(queue, &n)
			}
		}
	}
	return "", visited
}

func TestExploreTheRamp(t *testing.T) {
	for name, burn := range map[string]bool{"deposit": false, "burn": true} {
		t.Run(name, func(t *testing.T) {
			trouble, visited := newStrait(burn).explore(false)
			if trouble != "" || visited < 90 {
				t.Errorf("%d worlds: %s", visited, trouble)
			}
		})
	}
	t.Run("deposit out of an account that is filled later", func(t *testing.T) {
		s := newStrait(false)
		s.refused = CarrierTick{} // what a refusal says to the carrier
		if trouble, visited := s.explore(true); trouble != "" || visited < 90 {
			t.Errorf("%d worlds: %s", visited, trouble)
		}
	})
}

// Each mutant of the carrier is caught.
func TestExplorerOfTheRampCatchesMutants(t *testing.T) {
	for name, mutant := range map[string]struct {
		poor bool
		edit func(s *strait)
	}{
		"a refusal for want of funds is taken for the end": {true, func(s *strait) { s.refused = Overdue{} }},
		"a restart takes another nonce": {false, func(s *strait) {
			s.step = func(s *strait, f *ferry, in CarrierInput) (CarrierEffects, error) {
				effects, err := restored(s, f, in)
				if leave, ok := effects.Submit.(*ledger.Leave); ok && f.crashes > 0 {
					again := *leave
					again.Nonce += uint64(f.crashes)
					effects.Submit = &again
				}
				return effects, err
			}
		}},
		"it never asks again": {false, func(s *strait) {
			s.step = func(s *strait, f *ferry, in CarrierInput) (CarrierEffects, error) {
				effects, err := restored(s, f, in)
				if _, first := in.(Carry); !first || len(f.log) > 0 {
					effects.Submit = nil
				}
				return effects, err
			}
		}},
		"it arrives when it has left": {false, func(s *strait) {
			s.step = func(s *strait, f *ferry, in CarrierInput) (CarrierEffects, error) {
				effects, err := restored(s, f, in)
				if len(effects.Persist) == 1 && effects.Persist[0].Stage == Arriving {
					effects.Persist = append(effects.Persist, Stride{Stage: Arrived})
				}
				return effects, err
			}
		}},
		"it enters before it has left": {false, func(s *strait) {
			s.step = func(s *strait, f *ferry, in CarrierInput) (CarrierEffects, error) {
				effects, err := restored(s, f, in)
				if _, ok := effects.Submit.(*ledger.Leave); ok {
					effects.Submit = &ledger.Enter{Crossing: s.crossing, Evidence: s.evidence()}
				}
				return effects, err
			}
		}},
	} {
		s := newStrait(false)
		mutant.edit(s)
		if trouble, visited := s.explore(mutant.poor); trouble == "" {
			t.Errorf("%s: %d worlds, no trouble", name, visited)
		}
	}
}

func TestCarrierRefuses(t *testing.T) {
	s := newStrait(false)
	now := time.Unix(strand, 0)
	other := s.crossing
	other.Nonce++
	passage := func(x ledger.Crossing, at int) Passed {
		return Passed{ledger.Passage{Ledger: s.charters[at].Ledger, Crossing: x}}
	}
	leaving := Stride{Stage: Leaving, Crossing: s.crossing}
	arriving := Stride{Stage: Arriving, Evidence: []byte("proof")}
	for name, tt := range map[string]struct {
		log []Stride
		in  CarrierInput
		err error
	}{
		"another crossing":                     {[]Stride{leaving}, Carry{other}, ErrBegun},
		"another's passage":                    {[]Stride{leaving}, passage(other, 0), ErrForeign},
		"a passage before it begins":           {nil, passage(s.crossing, 0), ErrForeign},
		"that it lapses when it has left":      {[]Stride{leaving, arriving}, Overdue{}, ErrLedger},
		"that it passes when it has lapsed":    {[]Stride{leaving, {Stage: Lapsed}}, passage(s.crossing, 0), ErrLedger},
		"a passage that is known, quietly":     {[]Stride{leaving, arriving}, passage(s.crossing, 0), nil},
		"that it lapses twice, quietly":        {[]Stride{leaving, {Stage: Lapsed}}, Overdue{}, nil},
		"an arrival before it left, quietly":   {[]Stride{leaving}, passage(s.crossing, 1), nil},
		"the same crossing once more, quietly": {[]Stride{leaving}, Carry{s.crossing}, nil},
		"a tick before it begins, quietly":     {nil, CarrierTick{}, nil},
	} {
		c, err := NewCarrier(time.Second, tt.log)
		if err != nil {
			t.Fatal(err)
		}
		before := *c
		effects, err := c.Step(now, tt.in)
		if !errors.Is(err, tt.err) || len(effects.Persist) > 0 {
			t.Errorf("%s: %+v, %v, want %v", name, effects, err, tt.err)
		}
		if before.sent = c.sent; !reflect.DeepEqual(before, *c) {
			t.Errorf("%s changes the carrier", name)
		}
	}
	for name, log := range map[string][]Stride{
		"no beginning": {arriving}, "two beginnings": {leaving, leaving},
		"an arrival that never left": {leaving, {Stage: Arrived}},
		"more after the end":         {leaving, {Stage: Lapsed}, arriving},
		"no stage":                   {{}},
	} {
		if _, err := NewCarrier(time.Second, log); !errors.Is(err, ErrEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A command goes out at once after a start and after each new stage, and then once per interval.
func TestCarrierPaces(t *testing.T) {
	s := newStrait(false)
	c, err := NewCarrier(10*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(strand, 0)
	for i, want := range []struct {
		after time.Duration
		in    CarrierInput
		sends bool
	}{
		{0, Carry{s.crossing}, true},
		{9 * time.Second, CarrierTick{}, false},
		{10 * time.Second, CarrierTick{}, true},
		{11 * time.Second, Carry{s.crossing}, false},
		{12 * time.Second, Passed{ledger.Passage{Ledger: "de", Crossing: s.crossing}}, true},
		{21 * time.Second, CarrierTick{}, false},
		{22 * time.Second, CarrierTick{}, true},
	} {
		effects, err := c.Step(at.Add(want.after), want.in)
		if err != nil || (effects.Submit != nil) != want.sends || !effects.WakeAt.After(at.Add(want.after)) {
			t.Errorf("step %d: %+v, %v", i, effects, err)
		}
	}
}

func strides() []Stride {
	r := ledgertest.NewRamp("cypherium")
	x := r.Deposit(1, 700, strand)
	return []Stride{
		{Stage: Leaving, Crossing: x},
		{Stage: Arriving, Evidence: r.Record(x, 1, 5).Encode()},
		{Stage: Arrived},
		{Stage: Lapsed},
	}
}

func TestStridesEncodeAndDecode(t *testing.T) {
	for _, s := range strides() {
		got, err := DecodeStride(s.Encode())
		if err != nil || !reflect.DeepEqual(got, s) || s.Stage.String() == "" {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
		if _, err := DecodeStride(append(s.Encode(), 0)); !errors.Is(err, ErrEvent) {
			t.Error(err)
		}
	}
	if _, err := DecodeStride([]byte{9}); !errors.Is(err, ErrEvent) {
		t.Error(err)
	}
}

func FuzzDecodeStride(f *testing.F) {
	for _, s := range strides() {
		f.Add(s.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := DecodeStride(b); err == nil && !bytes.Equal(s.Encode(), b) {
			t.Fatalf("%x has another form", b)
		}
	})
}
