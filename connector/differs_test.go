package connector

import (
	"bytes"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// standing is the final receipt of a leg's custody as agreed, with that packet.
func (s *scene) standing(leg uint8, packet []byte) ledger.Receipt {
	c := ledger.Custody{ID: s.custody[leg], State: ledger.Prepared, Packet: packet}
	c.Subject.Terms, c.Subject.Leg = s.terms.Hash(), leg
	c.Subject.Fields, c.Subject.Condition = s.terms.Legs[leg], s.terms.Condition
	return ledger.Receipt{
		Ledger: s.terms.Legs[leg].Asset.Ledger, Custody: c, Sequence: 1, TimeMS: s.ledgerMS(leg, 1),
	}
}

// packetFor is the packet that the relay puts into the destination custody.
func (s *scene) packetFor(t *testing.T, edit func(*ilp.Prepare)) []byte {
	t.Helper()
	leg := s.terms.Legs[terms.Destination]
	raw, err := ilp.Forward(s.packet, uint64(leg.Amount), time.Unix(leg.Expiry, 0))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ilp.DecodePrepare(raw)
	if err != nil {
		t.Fatal(err)
	}
	edit(p)
	if raw, err = p.Encode(); err != nil {
		t.Fatal(err)
	}
	return raw
}

// differences are the ways in which a custody is not the one that was agreed, and why whoever
// sees it declines.
func differences() map[string]struct {
	edit func(c *ledger.Custody)
	why  Reason
} {
	type difference = struct {
		edit func(c *ledger.Custody)
		why  Reason
	}
	return map[string]difference{
		"nothing":       {func(*ledger.Custody) {}, ""},
		"less":          {func(c *ledger.Custody) { c.Subject.Fields.Amount-- }, ReasonCustody},
		"more":          {func(c *ledger.Custody) { c.Subject.Fields.Amount++ }, ReasonCustody},
		"earlier":       {func(c *ledger.Custody) { c.Subject.Fields.Expiry-- }, ReasonCustody},
		"later":         {func(c *ledger.Custody) { c.Subject.Fields.Expiry++ }, ReasonCustody},
		"other asset":   {func(c *ledger.Custody) { c.Subject.Fields.Asset.Code = "USD" }, ReasonCustody},
		"other debit":   {func(c *ledger.Custody) { c.Subject.Fields.Debit.Number++ }, ReasonCustody},
		"other credit":  {func(c *ledger.Custody) { c.Subject.Fields.Credit.Owner[0]++ }, ReasonCustody},
		"other terms":   {func(c *ledger.Custody) { c.Subject.Terms[0]++ }, ReasonCustody},
		"other leg":     {func(c *ledger.Custody) { c.Subject.Leg ^= 1 }, ReasonCustody},
		"condition":     {func(c *ledger.Custody) { c.Subject.Condition[0]++ }, ReasonCustody},
		"no packet":     {func(c *ledger.Custody) { c.Packet = nil }, ReasonPacket},
		"packet cut":    {func(c *ledger.Custody) { c.Packet = c.Packet[:len(c.Packet)-1] }, ReasonPacket},
		"packet longer": {func(c *ledger.Custody) { c.Packet = append(bytes.Clone(c.Packet), 0) }, ReasonPacket},
	}
}

// gave tells what a step sends to that leg's ledger.
func (s *scene) gave(e Effects, leg uint8) (commands []ledger.Command) {
	for _, sub := range e.Submit {
		if sub.Leg.Asset.Ledger == s.terms.Legs[leg].Asset.Ledger {
			commands = append(commands, sub.Command)
		}
	}
	return commands
}

// A source custody that is not the agreed one is given back, and no destination custody is made.
func TestTheRelayDeclinesWhatWasNotAgreed(t *testing.T) {
	m, _, _ := tight()
	for name, d := range differences() {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 9, 5, m)
			relay, err := NewRelay(m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := relay.Step(s.clock(0), Begin{Terms: s.terms, Packet: s.packet}); err != nil {
				t.Fatal(err)
			}
			r := s.standing(terms.Source, s.packet)
			d.edit(&r.Custody)
			e, err := relay.Step(s.clock(1), Final{r})
			if err != nil || relay.Declined() != d.why {
				t.Fatalf("declined for %q, want %q, %v", relay.Declined(), d.why, err)
			}
			source, destination := s.gave(e, terms.Source), s.gave(e, terms.Destination)
			if d.why == "" {
				if len(destination) != 1 || len(source) != 0 {
					t.Fatalf("%+v", e.Submit)
				}
				return
			}
			if len(destination) > 0 || len(source) != 1 {
				t.Fatalf("%+v", e.Submit)
			}
			if _, ok := source[0].(*ledger.Return); !ok {
				t.Fatalf("%T", source[0])
			}
		})
	}
}

// For a destination custody that is not the agreed one no preimage leaves the payee: it is given
// back.
func TestThePayeeRevealsNothingForWhatWasNotAgreed(t *testing.T) {
	m, _, _ := tight()
	all := differences()
	type packet = func(t *testing.T, s *scene) []byte
	packets := map[string]packet{}
	for name := range all {
		packets[name] = func(t *testing.T, s *scene) []byte {
			return s.packetFor(t, func(*ilp.Prepare) {})
		}
	}
	add := func(name string, why Reason, edit func(p *ilp.Prepare)) {
		d := all["nothing"]
		d.why = why
		all[name] = d
		packets[name] = func(t *testing.T, s *scene) []byte { return s.packetFor(t, edit) }
	}
	add("packet of less", ReasonPacket, func(p *ilp.Prepare) { p.Amount-- })
	add("packet of another time", ReasonPacket, func(p *ilp.Prepare) {
		p.ExpiresAt = p.ExpiresAt.Add(time.Second)
	})
	add("packet of another condition", ReasonPacket, func(p *ilp.Prepare) { p.Condition[0]++ })
	add("packet with other content", ReasonPacket, func(p *ilp.Prepare) {
		p.Data = bytes.Clone(p.Data)
		p.Data[len(p.Data)-1]++
	})
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 9, 5, m)
			payee, err := NewPayee(m, s.base, s.secret, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := payee.Step(s.clock(0), Begin{Terms: s.terms, Packet: s.packet}); err != nil {
				t.Fatal(err)
			}
			r := s.standing(terms.Destination, packets[name](t, s))
			d.edit(&r.Custody)
			e, err := payee.Step(s.clock(1), Final{r})
			why := payee.Declined()
			// Content that the payee cannot open, or that gives another condition, is one of two.
			if err != nil || why != d.why && (d.why != ReasonPacket || why != ReasonCondition) {
				t.Fatalf("declined for %q, want %q, %v", why, d.why, err)
			}
			commands := s.gave(e, terms.Destination)
			if len(commands) != 1 {
				t.Fatalf("%+v", e.Submit)
			}
			confirm, ok := commands[0].(*ledger.Confirm)
			if ok != (d.why == "") {
				t.Fatalf("%T", commands[0])
			}
			if ok && confirm.Preimage.Condition() != s.terms.Condition {
				t.Fatal("another preimage")
			}
			if !ok {
				none := cypherlink.Preimage{}
				for _, event := range e.Persist {
					if d, ok := event.(Decided); ok && d.Preimage != none {
						t.Fatal("a preimage is kept for a custody that is declined")
					}
				}
			}
		})
	}
}
