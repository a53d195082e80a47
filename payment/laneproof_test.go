package payment

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// anchored is the receipt of the world's payment.
func anchored(tb testing.TB) (*laneWorld, []byte) {
	tb.Helper()
	l := newLaneWorld(tb)
	raw, err := l.proof(tb, eventAnchored, 4).Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return l, raw
}

func TestLaneReceiptSaysWhatIsProved(t *testing.T) {
	l, raw := anchored(t)
	f, err := VerifyReceipt(l.Genesis, raw)
	if err != nil {
		t.Fatal(err)
	}
	proved := strings.Join(f.Proved, "\n")
	banks := l.Banks()
	payer, payee := nameOf(l.Genesis, banks[0].ID), nameOf(l.Genesis, banks[1].ID)
	for _, want := range []string{
		" signed the terms " + l.terms.Terms.Hash().String(), payer + " pays 0.70 EUR@de to " + payee,
		"Validator 1 approved the movement of 0.70 EUR@de", "Validator 2 approved",
		"Update 2 of generation 0 in the lane of " + payer + " in channel " + l.id.String() + " pays it",
		"update 4 is 2 later", "Ledger de has the lane at update 4, by block 3 at 2027-01-15T08:00:03.000Z",
		"the committee of epoch 1 (Member 1, Member 2, Member 3)",
	} {
		if !strings.Contains(proved, want) {
			t.Errorf("not proved: %s\n%s", want, proved)
		}
	}
	if len(f.Stated) != 0 || f.UETR != l.terms.Terms.UETR || f.Source != f.Destination ||
		f.Source.String() != "0.70 EUR@de" {
		t.Errorf("%+v", f)
	}
}

// A receipt may end with any later head: that of a cut, whose channel is in the next generation already,
// or one of a later generation. And a payment may stand in the head itself.
func TestLaneReceiptsOfOtherHeads(t *testing.T) {
	l := newLaneWorld(t)
	for _, tt := range []struct {
		event uint64
		last  int
	}{{eventAnchored, 4}, {eventCut, 5}, {eventNext, 6}} {
		raw, err := l.proof(t, tt.event, tt.last).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyReceipt(l.Genesis, raw); err != nil {
			t.Errorf("update %d: %v", tt.last, err)
		}
	}
	alone := l.alone(t, l.agreed(9, 5))
	if raw, err := alone.Encode(); err != nil {
		t.Error(err)
	} else if f, err := VerifyReceipt(l.Genesis, raw); err != nil || strings.Contains(strings.Join(f.Proved, "\n"), "later") {
		t.Errorf("a payment alone in the head: %v, %v", f, err)
	}
}

// alone is the proof of a payment that stands alone in the head, on terms of any parties.
func (l *laneWorld) alone(tb testing.TB, x *terms.Terms) *LaneProof {
	tb.Helper()
	p := &LaneProof{Terms: l.parties.prove(tb, x), Verdicts: l.World.Verdicts(subject(x, terms.Source))}
	u := l.updates[3]
	u.Body = channels.BodyRoot([]channels.Operation{p.pay()})
	p.Updates = []channels.Update{chaintest.Sealed(u)}
	fact := l.fact(tb)
	fact.Channel.Lanes[0].Head = p.Updates[0].Head
	p.Anchored = l.says(tb, fact)
	return p
}

// A payment over two ledgers is no payment over a channel, even if its source leg is paid in one.
func TestLaneReceiptsAreOfOneLeg(t *testing.T) {
	l := newLaneWorld(t)
	x := l.agreed(8, 5)
	x.Connector, x.Quote, x.Condition = l.World.Mallory.ID, cypherlink.Hash{1}, cypherlink.Condition{1}
	x.Legs[0].Credit.Owner = x.Connector
	second := x.Legs[0]
	second.Asset.Ledger, second.Expiry = "elsewhere", second.Expiry-9
	second.Debit.Owner, second.Credit.Owner = x.Connector, x.Payee
	x.Legs = append(x.Legs, second)
	p := l.alone(t, x)
	if _, err := p.Verify(l.Genesis); !errors.Is(err, ErrReceipt) {
		t.Errorf("verified: %v", err)
	}
	if _, err := p.Encode(); !errors.Is(err, ErrReceipt) {
		t.Errorf("encoded: %v", err)
	}
}

// Another network's genesis proves nothing.
func TestLaneReceiptsOfOthers(t *testing.T) {
	l, raw := anchored(t)
	other := chaintest.New(t, func(f *chain.GenesisFile) { f.TimeMS++ })
	for name, g := range map[string]*chain.Genesis{
		"another beginning": other.Genesis, "other participants": newNetwork(t, nil).genesis,
	} {
		_, err := VerifyReceipt(g, raw)
		if !errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), "genesis is that of "+g.Network().String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := VerifyReceipt(l.Genesis, append(raw, make([]byte, MaxReceipt)...))
	if !errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), "at most") {
		t.Errorf("it is read, however long: %v", err)
	}
}

// fact is the event by which the fourth update is anchored.
func (l *laneWorld) fact(tb testing.TB) state.ChannelFact {
	tb.Helper()
	return l.entry(tb, eventAnchored).Event.Fact.(state.ChannelFact)
}

// Each place in an update of each size has a path to its body.
func TestPathsOfOperations(t *testing.T) {
	l := newLaneWorld(t)
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 31, channels.MaxOperations} {
		for at := range n {
			if n > 16 && at%13 != 0 {
				continue
			}
			operations := make([]channels.Operation, n)
			for i := range operations {
				operations[i] = channels.Pay{Payment: cypherlink.UETR{byte(i), 1}, Amount: 1}
			}
			p := &LaneProof{Terms: l.terms}
			operations[at] = p.pay()
			p, err := NewLaneProof(l.terms, nil, operations, nil, l.entry(t, eventAnchored))
			if err != nil || p.root() != channels.BodyRoot(operations) || len(p.Path) > 8 {
				t.Fatalf("%d of %d: %v", at, n, err)
			}
		}
	}
	if _, err := NewLaneProof(l.terms, nil, l.operations[0], nil, l.entry(t, eventAnchored)); !errors.Is(err, ErrReceipt) {
		t.Errorf("operations of others: %v", err)
	}
	two, raw := settled(t)
	good, err := DecodeProof(two.genesis, raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewLaneProof(good.Terms, nil, l.operations[0], nil, l.entry(t, eventAnchored)); !errors.Is(err, ErrReceipt) {
		t.Errorf("terms of two legs: %v", err)
	}
}

func TestLaneReceiptHasOneForm(t *testing.T) {
	l, raw := anchored(t)
	text := string(raw)
	const format = "  \"format\": \"cypherlink-receipt-channel-v1\",\n"
	for name, changed := range map[string]string{
		"a blank more":       strings.Replace(text, ": ", ":  ", 1),
		"no line feed":       strings.TrimSuffix(text, "\n"),
		"an unknown field":   strings.Replace(text, "{\n", "{\n  \"more\": 1,\n", 1),
		"an unknown last":    strings.TrimSuffix(text, "\n}\n") + ",\n  \"more\": 1\n}\n",
		"a field twice":      strings.Replace(text, format, format+format, 1),
		"a field less":       strings.Replace(text, format, "", 1),
		"another format":     strings.Replace(text, "channel-v1", "channel-v2", 1),
		"the other format":   strings.Replace(text, "receipt-channel-v1", "receipt-v1", 1),
		"another side":       strings.Replace(text, `"left"`, `"up"`, 1),
		"the other side":     strings.Replace(text, `"left"`, `"right"`, 1),
		"nothing but a kind": "{\n" + format + "}\n",
		"another amount":     strings.ReplaceAll(text, "0.70", "0.71"),
		"too long":           text + strings.Repeat(" ", MaxReceipt),
		"an escaped sign":    strings.Replace(text, "EUR@de", `EUR\u0040de`, 1),
		"no later updates":   text[:strings.Index(text, `"later_updates"`)] + `"later_updates": []` + text[strings.Index(text, "],\n  \"anchored\"")+1:],
	} {
		if changed == text {
			t.Fatalf("%s: nothing is changed", name)
		}
		if _, err := VerifyReceipt(l.Genesis, []byte(changed)); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryByteOfALaneReceiptCounts: changed alone, it is not what the signed bytes say, or these do not
// hold.
func TestEveryByteOfALaneReceiptCounts(t *testing.T) {
	l, raw := anchored(t)
	stride := 1
	if testing.Short() {
		stride = 97
	}
	for i := 0; i < len(raw); i += stride {
		changed := slices.Clone(raw)
		changed[i] ^= 1 << (i % 7)
		if _, err := VerifyReceipt(l.Genesis, changed); err == nil {
			t.Fatalf("byte %d changed: accepted", i)
		}
	}
}

// TestEverySignedByteOfALaneReceiptCounts: changed with everything that is computed from it, it does not
// hold.
func TestEverySignedByteOfALaneReceiptCounts(t *testing.T) {
	l := newLaneWorld(t)
	good := l.proof(t, eventAnchored, 4)
	type part struct {
		bytes []byte
		put   func(p *LaneProof, b []byte) error
	}
	parts := map[string]part{
		"terms": {good.Terms.Encode(), func(p *LaneProof, b []byte) (err error) {
			p.Terms, err = terms.DecodeProof(b)
			return err
		}},
		"evidence": {good.Anchored.Encode(), func(p *LaneProof, b []byte) (err error) {
			p.Anchored, err = follow.DecodeEvidence(b)
			return err
		}},
	}
	for i := range good.Verdicts {
		parts[fmt.Sprint("verdict ", i)] = part{EncodeVerdict(&good.Verdicts[i]), func(p *LaneProof, b []byte) error {
			v, err := DecodeVerdict(b)
			p.Verdicts = slices.Clone(p.Verdicts)
			p.Verdicts[i] = *v
			return err
		}}
	}
	for i := range good.Updates {
		parts[fmt.Sprint("update ", i)] = part{updateBytes(&good.Updates[i]), func(p *LaneProof, b []byte) error {
			r := wire.NewReader(b)
			p.Updates = slices.Clone(p.Updates)
			p.Updates[i] = channels.ReadUpdate(r)
			return r.End()
		}}
	}
	for i := range good.Path {
		parts[fmt.Sprint("step ", i)] = part{good.Path[i].Sibling[:], func(p *LaneProof, b []byte) error {
			p.Path = slices.Clone(p.Path)
			p.Path[i].Sibling = cypherlink.Hash(b)
			return nil
		}}
	}
	stride, tried := 1, 0
	if testing.Short() {
		stride = 13
	}
	for name, part := range parts {
		for i := 0; i < len(part.bytes); i += stride {
			p, changed := *good, slices.Clone(part.bytes)
			changed[i] ^= 1 << (i % 8)
			if part.put(&p, changed) != nil {
				continue
			}
			raw, err := p.Encode()
			if err != nil {
				continue
			}
			tried++
			if _, err := VerifyReceipt(l.Genesis, raw); err == nil {
				t.Fatalf("%s, byte %d changed: accepted", name, i)
			}
		}
	}
	if tried == 0 {
		t.Error("no change was well formed")
	}
}

// TestLaneReceiptsPutTogether: parts that hold by themselves, of different things.
func TestLaneReceiptsPutTogether(t *testing.T) {
	l := newLaneWorld(t)
	good := l.proof(t, eventAnchored, 4)
	other := l.parties.prove(t, l.agreed(2, 70))
	dearer := l.parties.prove(t, l.agreed(1, 71))
	says := func(edit func(c *channels.Channel)) func(p *LaneProof) {
		return func(p *LaneProof) {
			fact := l.fact(t)
			edit(&fact.Channel)
			p.Anchored = l.says(t, fact)
		}
	}
	approval := l.World.Approval(subject(l.terms.Terms, terms.Source))
	for _, tt := range []struct {
		name string
		edit func(p *LaneProof)
	}{
		{"other terms that both signed", func(p *LaneProof) { p.Terms = other }},
		{"other terms with verdicts", func(p *LaneProof) {
			p.Terms, p.Verdicts = other, l.World.Verdicts(subject(other.Terms, 0))
		}},
		{"a larger amount that both signed", func(p *LaneProof) {
			p.Terms, p.Verdicts = dearer, l.World.Verdicts(subject(dearer.Terms, 0))
		}},
		{"no verdict", func(p *LaneProof) { p.Verdicts = nil }},
		{"a verdict less", func(p *LaneProof) { p.Verdicts = p.Verdicts[:1] }},
		{"a verdict more", func(p *LaneProof) {
			p.Verdicts = append(p.Verdicts, l.World.Signed(l.World.Validators[2], approval))
		}},
		{"one verdict twice", func(p *LaneProof) { p.Verdicts[1] = p.Verdicts[0] }},
		{"a verdict of somebody else", func(p *LaneProof) {
			p.Verdicts[1] = l.World.Signed(l.World.Mallory, approval)
		}},
		{"a verdict that says no", func(p *LaneProof) {
			no := approval
			no.Outcome, no.Reason = validator.Rejected, "RR04"
			p.Verdicts[1] = l.World.Signed(l.World.Validators[1], no)
		}},
		{"no updates", func(p *LaneProof) { p.Updates = nil }},
		{"an update that does not pay", func(p *LaneProof) { p.Updates = p.Updates[1:] }},
		{"the update before", func(p *LaneProof) { p.Updates = l.updates[:4] }},
		{"an update left out", func(p *LaneProof) { p.Updates = slices.Delete(p.Updates, 1, 2) }},
		{"the end left out", func(p *LaneProof) { p.Updates = p.Updates[:2] }},
		{"an update beyond the head", func(p *LaneProof) { p.Updates = slices.Clone(l.updates[1:5]) }},
		{"an update that pays, in no chain", func(p *LaneProof) {
			u := p.Updates[0]
			u.Dep++
			p.Updates[0] = chaintest.Sealed(u)
		}},
		{"updates of two lanes", func(p *LaneProof) {
			for i := range p.Updates[1:] {
				u := p.Updates[1+i]
				u.Lane, u.Prev = channels.B, p.Updates[i].Hash
				p.Updates[1+i] = chaintest.Sealed(u)
			}
			fact := l.fact(t)
			fact.Channel.Lanes[channels.B].Head = p.Updates[2].Head
			fact.Channel.Banks[0], fact.Channel.Banks[1] = fact.Channel.Banks[1], fact.Channel.Banks[0]
			p.Anchored = l.says(t, fact)
		}},
		{"updates of two channels", func(p *LaneProof) {
			for i := range p.Updates[1:] {
				u := p.Updates[1+i]
				u.Channel, u.Prev = channels.ID{7}, p.Updates[i].Hash
				p.Updates[1+i] = chaintest.Sealed(u)
			}
			fact := l.fact(t)
			fact.Channel.ID, fact.Channel.Lanes[channels.A].Head = channels.ID{7}, p.Updates[2].Head
			p.Anchored = l.says(t, fact)
		}},
		{"the head of the other lane", says(func(c *channels.Channel) {
			c.Lanes[0].Head, c.Lanes[1].Head = c.Lanes[1].Head, c.Lanes[0].Head
		})},
		{"the head of another channel", says(func(c *channels.Channel) { c.ID[0]++ })},
		{"a channel in another asset", says(func(c *channels.Channel) { c.Asset = l.World.Free })},
		{"a channel of other banks", says(func(c *channels.Channel) { c.Banks[1] = l.World.Mallory.ID })},
		{"a channel of other payers", says(func(c *channels.Channel) { c.Banks[0] = l.World.Mallory.ID })},
		{"the payee's lane", says(func(c *channels.Channel) { c.Banks[0], c.Banks[1] = c.Banks[1], c.Banks[0] })},
		{"a head of another hash", says(func(c *channels.Channel) { c.Lanes[0].Head.Hash[0]++ })},
		{"a head of another sequence", says(func(c *channels.Channel) { c.Lanes[0].Head.Seq++ })},
		{"a head of another total", says(func(c *channels.Channel) { c.Lanes[0].Head.Paid++ })},
		{"an event before", func(p *LaneProof) {
			e := l.entry(t, eventOpened)
			p.Anchored = e.Evidence()
		}},
		{"an event of no channel", func(p *LaneProof) {
			p.Anchored = l.says(t, state.RevealFact{Preimage: cypherlink.Preimage{1}})
		}},
		{"an absence", func(p *LaneProof) {
			p.Anchored = &follow.Evidence{Proof: p.Anchored.Proof, Absent: emptyState()}
		}},
		{"a block that is not final", func(p *LaneProof) {
			p.Anchored.Proof.Headers = p.Anchored.Proof.Headers[:1]
			p.Anchored.Proof.QC = l.Certify(t, p.Anchored.Proof.Headers[0])
		}},
		{"a final block without the event", func(p *LaneProof) {
			e := l.entry(t, eventOpened)
			p.Anchored.Proof = e.Finality
		}},
		{"a path that goes on", func(p *LaneProof) { p.Path = append(p.Path, PathStep{}) }},
		{"a path that ends early", func(p *LaneProof) { p.Path = p.Path[:len(p.Path)-1] }},
	} {
		p := *good
		p.Verdicts, p.Updates, p.Path = slices.Clone(p.Verdicts), slices.Clone(p.Updates), slices.Clone(p.Path)
		evidence := *p.Anchored
		p.Anchored = &evidence
		tt.edit(&p)
		if _, err := p.Verify(l.Genesis); err == nil {
			t.Errorf("%s: verified", tt.name)
		}
		raw, err := p.Encode()
		if err == nil {
			_, err = VerifyReceipt(l.Genesis, raw)
		}
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
		}
	}
	// what cannot be written is not
	for name, edit := range map[string]func(p *LaneProof){
		"no updates":             func(p *LaneProof) { p.Updates = nil },
		"an absence":             func(p *LaneProof) { p.Anchored = &follow.Evidence{Absent: emptyState()} },
		"an event of no channel": func(p *LaneProof) { p.Anchored = l.says(t, state.RevealFact{}) },
	} {
		p := *good
		edit(&p)
		if _, err := p.Encode(); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// what the committee says as it is, holds; also of a channel that is closed
	whole := *good
	says(func(c *channels.Channel) { c.State, c.Lanes[0].Head.Locked = channels.Closed, 0 })(&whole)
	if raw, err := whole.Encode(); err != nil {
		t.Error(err)
	} else if _, err := VerifyReceipt(l.Genesis, raw); err != nil {
		t.Errorf("the certificate of the true event: %v", err)
	}
}

// The longest receipt is one that is taken.
func TestTheLongestLaneReceipt(t *testing.T) {
	l := newLaneWorld(t)
	good := l.proof(t, eventAnchored, 4)
	p := *good
	for len(p.Updates) < maxUpdates {
		u := l.updates[3]
		u.Prev, u.Seq = p.Updates[len(p.Updates)-1].Hash, u.Seq+1
		p.Updates = append(p.Updates, chaintest.Sealed(u))
	}
	fact := l.fact(t)
	fact.Channel.Lanes[0].Head = p.Updates[maxUpdates-1].Head
	p.Anchored = l.says(t, fact)
	raw, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyReceipt(l.Genesis, raw); err != nil {
		t.Fatal(err)
	}
	for len(p.Anchored.Proof.Headers) < chain.MaxProofHeaders {
		p.Anchored.Proof.Headers = append(p.Anchored.Proof.Headers, p.Anchored.Proof.Headers[0])
	}
	raw, err = p.Encode()
	if rest := MaxReceipt - len(raw); err != nil || rest < 300<<10 { // for the locks of a channel
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	p.Updates = append(p.Updates, p.Updates[1])
	if _, err := p.Encode(); !errors.Is(err, ErrReceipt) {
		t.Fatalf("an update more: %v", err)
	}
}

func FuzzLaneProof(f *testing.F) {
	_, raw := anchored(f)
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte(strings.Replace(string(raw), `"left"`, `"right"`, 1)))
	f.Add([]byte("{\n  \"format\": \"" + laneReceiptFormat + "\"\n}\n"))
	f.Add([]byte("null\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodeLaneProof(b)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("two forms: %v", err)
		}
	})
}
