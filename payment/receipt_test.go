package payment

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// one payment's receipt serves all tests.
var settledOnce struct {
	sync.Once
	network *network
	raw     []byte
}

// settled is the receipt of a payment that took its way through all processes.
func settled(t *testing.T) (*network, []byte) {
	t.Helper()
	settledOnce.Do(func() {
		play(t, func(_ *testing.T, w *world, a, _ *Connect) {
			settledOnce.network, settledOnce.raw = w.network, w.evidence(a, w.submit(a, 1))
		})
	})
	return settledOnce.network, settledOnce.raw
}

func TestReceiptSeparatesWhatIsProvedFromWhatIsStated(t *testing.T) {
	n, raw := settled(t)
	f, err := VerifyReceipt(n.genesis, raw)
	if err != nil {
		t.Fatal(err)
	}
	proved, stated := strings.Join(f.Proved, "\n"), strings.Join(f.Stated, "\n")
	for _, want := range []string{
		"Bank A, Bank B and Clearing Bank signed the terms", "Bank A pays 1001.00 EUR@de",
		"Bank B gets 2000.00 CNY@cypherium", "at 2/1 and a fee of 1.00", "Validator 0 approved",
		"was prepared in block 1", "confirmed in block 2", "under one condition",
		"the committee of epoch 1 (Member 1, Member 2, Member 3)",
	} {
		if !strings.Contains(proved, want) {
			t.Errorf("not proved: %s\n%s", want, proved)
		}
	}
	if !strings.Contains(stated, "Digital euro ledger, who keeps ledger de, says") ||
		strings.Contains(proved, "Digital euro ledger") {
		t.Errorf("stated: %s", stated)
	}
	if f.Source.String() != "1001.00 EUR@de" || f.Destination.String() != "2000.00 CNY@cypherium" {
		t.Errorf("%+v", f)
	}
	for _, want := range []string{
		`"preimage"`, `"condition"`, `"kyc_commitment"`, `"verdicts"`, `"headers"`, `"certificate"`,
		`"operators_record"`,
	} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("the receipt has no %s", want)
		}
	}
}

func TestReceiptHasOneForm(t *testing.T) {
	n, raw := settled(t)
	text := string(raw)
	const format = "  \"format\": \"cypherlink-receipt-v1\",\n"
	lastLeg := strings.LastIndex(text, ",\n    {\n      \"ledger\"")
	for name, changed := range map[string]string{
		"a blank more":        strings.Replace(text, ": ", ":  ", 1),
		"no line feed":        strings.TrimSuffix(text, "\n"),
		"an unknown field":    strings.Replace(text, "{\n", "{\n  \"more\": 1,\n", 1),
		"a field twice":       strings.Replace(text, "{\n", "{\n"+format, 1),
		"a field less":        strings.Replace(text, format, "", 1),
		"another format":      strings.Replace(text, "receipt-v1", "receipt-v2", 1),
		"upper-case hex":      strings.Replace(text, "\"preimage\": \"", "\"preimage\": \"A", 1),
		"a leg less":          text[:lastLeg] + "\n  ]\n}\n",
		"a leg more":          strings.TrimSuffix(text, "\n  ]\n}\n") + text[lastLeg:],
		"nothing":             "",
		"null":                "null\n",
		"a comment":           "// \n" + text,
		"too long":            text + strings.Repeat(" ", MaxReceipt),
		"an escaped solidus":  strings.Replace(text, "2/1", `2\/1`, 1),
		"another amount":      strings.ReplaceAll(text, "2000.00", "2000.01"),
		"another time":        strings.Replace(text, "2000-01-01", "2000-01-02", 1),
		"another person":      strings.Replace(text, "\"operator\": \"", "\"operator\": \"0", 1),
		"another line ending": strings.ReplaceAll(text, "\n", "\r\n"),
	} {
		if changed == text {
			t.Fatalf("%s: nothing is changed", name)
		}
		if _, err := VerifyReceipt(n.genesis, []byte(changed)); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryByteOfAReceiptCounts: changed alone, it is not what the signed bytes say, or these
// do not hold.
func TestEveryByteOfAReceiptCounts(t *testing.T) {
	n, raw := settled(t)
	stride := 1
	if testing.Short() {
		stride = 97
	}
	for i := 0; i < len(raw); i += stride {
		changed := slices.Clone(raw)
		changed[i] ^= 1 << (i % 7)
		if _, err := VerifyReceipt(n.genesis, changed); err == nil {
			t.Fatalf("byte %d changed: accepted", i)
		}
	}
}

// TestEverySignedByteOfAReceiptCounts: changed with everything that is computed from it, the
// signatures do not hold.
func TestEverySignedByteOfAReceiptCounts(t *testing.T) {
	n, raw := settled(t)
	good, err := DecodeProof(n.genesis, raw)
	if err != nil {
		t.Fatal(err)
	}
	stride := 7
	if testing.Short() {
		stride = 211
	}
	parts := map[string]struct {
		bytes []byte
		put   func(p *Proof, b []byte) error
	}{
		"terms": {good.Terms.Encode(), func(p *Proof, b []byte) (err error) {
			p.Terms, err = terms.DecodeProof(b)
			return err
		}},
		"quote": {good.Quote.Encode(), func(p *Proof, b []byte) (err error) {
			p.Quote, err = connector.DecodeQuote(b, n.genesis)
			return err
		}},
	}
	for leg := range good.Legs {
		part := func(name string, raw []byte, put func(p *Proof, b []byte) error) {
			parts[fmt.Sprint(name, leg)] = struct {
				bytes []byte
				put   func(p *Proof, b []byte) error
			}{raw, put}
		}
		id := good.Terms.Terms.Legs[leg].Asset.Ledger
		part("verdict", EncodeVerdict(&good.Legs[leg].Verdicts[0]), func(p *Proof, b []byte) error {
			v, err := DecodeVerdict(b)
			p.Legs[leg].Verdicts = append([]validator.Signed{*v}, p.Legs[leg].Verdicts[1:]...)
			return err
		})
		part("prepared", good.Legs[leg].Prepared.Receipt.Evidence, func(p *Proof, b []byte) (err error) {
			p.Legs[leg].Prepared, err = readEvidence(n.genesis, id, b)
			return err
		})
		part("confirmed", good.Legs[leg].Confirmed.Receipt.Evidence, func(p *Proof, b []byte) (err error) {
			p.Legs[leg].Confirmed, err = readEvidence(n.genesis, id, b)
			return err
		})
	}
	tried := 0
	for name, part := range parts {
		for i := 0; i < len(part.bytes); i += stride {
			p, changed := *good, slices.Clone(part.bytes)
			changed[i] ^= 1 << (i % 8)
			if part.put(&p, changed) != nil {
				continue
			}
			raw, err := p.Encode(n.genesis)
			if err != nil {
				continue
			}
			tried++
			if _, err := VerifyReceipt(n.genesis, raw); err == nil {
				t.Fatalf("%s, byte %d changed: accepted", name, i)
			}
		}
	}
	if tried == 0 {
		t.Error("no change was well formed")
	}
}

// TestReceiptsOfOthers: another network's genesis, other member keys.
func TestReceiptsOfOthers(t *testing.T) {
	_, raw := settled(t)
	for name, edit := range map[string]func(f *chain.GenesisFile){
		"another name":        func(f *chain.GenesisFile) { f.Scheme = "another" },
		"another beginning":   func(f *chain.GenesisFile) { f.TimeMS++ },
		"other opening money": func(f *chain.GenesisFile) { f.Openings[0].Amount++ },
		"another member": func(f *chain.GenesisFile) {
			m := newPlayer(t, "another member", chain.RoleMember, "")
			f.Participants[0] = m.Participant
			f.KeyBlock.Members[0] = chain.Member{
				ID: m.id(), Key: m.Key, Possession: m.Possession, Identity: m.Identity, TLS: m.TLS,
			}
		},
	} {
		// the key block's sum is the registry's, whatever the file says
		other := newNetwork(t, edit)
		_, err := VerifyReceipt(other.genesis, raw)
		if !errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), "genesis is that of "+other.genesis.Network().String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReceiptsPutTogether: parts that hold by themselves, of different things.
func TestReceiptsPutTogether(t *testing.T) {
	n, raw := settled(t)
	good, err := DecodeProof(n.genesis, raw)
	if err != nil {
		t.Fatal(err)
	}
	resign := func(r ledger.Receipt) Statement {
		r.Evidence = nil
		s, err := readEvidence(n.genesis, "de", n.record(t)(r))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// recertify is what a committee would say that does not keep the rules.
	recertify := func(r ledger.Receipt, edit func(c *ledger.Custody)) Statement {
		r.Custody.Packet = slices.Clone(r.Custody.Packet)
		edit(&r.Custody)
		b := &blocks{tb: t, network: n, qc: n.committee.Committee.Genesis()}
		b.leaves = make([]merkle.Hash, r.Sequence-1)
		s, err := readEvidence(n.genesis, "cypherium", b.attest(r))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	other := n.prove(t, func() *terms.Terms {
		x := *good.Terms.Terms
		x.KYC[0]++
		return &x
	}())
	source := func(p *Proof) *LegProof { return &p.Legs[terms.Source] }
	for _, tt := range []struct {
		name string
		edit func(p *Proof)
	}{
		{"the legs' receipts exchanged", func(p *Proof) { p.Legs[0], p.Legs[1] = p.Legs[1], p.Legs[0] }},
		{"prepared twice", func(p *Proof) { source(p).Confirmed = source(p).Prepared }},
		{"confirmed twice", func(p *Proof) { source(p).Prepared = source(p).Confirmed }},
		{"other terms that all signed", func(p *Proof) { p.Terms = other }},
		{"terms of another batch", func(p *Proof) {
			x := *p.Terms
			x.Sequence++
			p.Terms = &x
		}},
		{"eight parties' signature", func(p *Proof) {
			x := *p.Terms
			x.Certificate.Bitmap = []byte{0xff}
			p.Terms = &x
		}},
		{"no verdict", func(p *Proof) { source(p).Verdicts = nil }},
		{
			"a verdict too many",
			func(p *Proof) { source(p).Verdicts = append(source(p).Verdicts, source(p).Verdicts[0]) },
		},
		{"one verdict twice", func(p *Proof) { p.Legs[1].Verdicts[1] = p.Legs[1].Verdicts[0] }},
		{"a verdict of the other leg", func(p *Proof) { source(p).Verdicts = p.Legs[1].Verdicts[:1] }},
		{"a verdict that says no", func(p *Proof) {
			no := n.verdict(t, n.validators[0], p.subject(0), validator.Rejected)
			source(p).Verdicts = []validator.Signed{*no}
		}},
		{"a confirmation before the custody", func(p *Proof) {
			r := source(p).Confirmed.Receipt
			r.TimeMS = source(p).Prepared.Receipt.TimeMS - 1
			source(p).Confirmed = resign(r)
		}},
		{"a confirmation of the same number", func(p *Proof) {
			r := source(p).Confirmed.Receipt
			r.Sequence = source(p).Prepared.Receipt.Sequence
			source(p).Confirmed = resign(r)
		}},
		{"a confirmation at the expiry", func(p *Proof) {
			r := source(p).Confirmed.Receipt
			r.TimeMS = p.Terms.Terms.Legs[0].Expiry * 1000
			source(p).Confirmed = resign(r)
		}},
		{"another preimage", func(p *Proof) {
			r := source(p).Confirmed.Receipt
			r.Custody.Preimage[0]++
			source(p).Confirmed = resign(r)
		}},
		{"another preimage on the chain", func(p *Proof) {
			p.Legs[1].Confirmed = recertify(p.Legs[1].Confirmed.Receipt, func(c *ledger.Custody) {
				c.Preimage[0]++
			})
		}},
		{"a confirmation on the chain at the expiry", func(p *Proof) {
			r := p.Legs[1].Confirmed.Receipt
			r.TimeMS = p.Terms.Terms.Legs[1].Expiry * 1000
			p.Legs[1].Confirmed = recertify(r, func(*ledger.Custody) {})
		}},
		{"another custody on the chain", func(p *Proof) {
			for _, s := range []*Statement{&p.Legs[1].Prepared, &p.Legs[1].Confirmed} {
				*s = recertify(s.Receipt, func(c *ledger.Custody) { c.ID[0]++ })
			}
		}},
		{"another packet", func(p *Proof) {
			for _, s := range []*Statement{&source(p).Prepared, &source(p).Confirmed} {
				r := s.Receipt
				r.Custody.Packet = p.Legs[1].Prepared.Receipt.Custody.Packet
				*s = resign(r)
			}
		}},
		{"a packet that has changed", func(p *Proof) {
			r := source(p).Confirmed.Receipt
			r.Custody.Packet = p.Legs[1].Prepared.Receipt.Custody.Packet
			source(p).Confirmed = resign(r)
		}},
		{"a packet with other data", func(p *Proof) {
			for _, s := range []*Statement{&source(p).Prepared, &source(p).Confirmed} {
				r := s.Receipt
				r.Custody.Packet = slices.Clone(r.Custody.Packet)
				r.Custody.Packet[len(r.Custody.Packet)-1]++
				*s = resign(r)
			}
		}},
		{"another amount", func(p *Proof) {
			for _, s := range []*Statement{&source(p).Prepared, &source(p).Confirmed} {
				r := s.Receipt
				r.Custody.Subject.Fields.Amount++
				*s = resign(r)
			}
		}},
		{"the word of somebody else", func(p *Proof) {
			record := *source(p).Confirmed.Record
			signature, err := n.mallory.identity.Sign(record.Frame())
			if err != nil {
				t.Fatal(err)
			}
			record.Signature = signature
			source(p).Confirmed, _ = readEvidence(n.genesis, "de", record.Encode())
		}},
		{"a quote on other terms", func(p *Proof) {
			q := p.Quote.Quote
			q.ID[0]++
			signature, err := n.clearing.identity.Sign(q.Frame())
			if err != nil {
				t.Fatal(err)
			}
			p.Quote = &connector.SignedQuote{Quote: q, Signature: signature}
		}},
	} {
		p := *good
		for leg := range p.Legs {
			p.Legs[leg].Verdicts = slices.Clone(p.Legs[leg].Verdicts)
		}
		tt.edit(&p)
		raw, err := p.Encode(n.genesis)
		if err == nil {
			_, err = VerifyReceipt(n.genesis, raw)
		}
		if err == nil {
			t.Errorf("%s: accepted", tt.name)
		}
	}
	// what the committee would certify of the custody itself, holds
	whole := *good
	whole.Legs[1].Confirmed = recertify(good.Legs[1].Confirmed.Receipt, func(*ledger.Custody) {})
	if raw, err := whole.Encode(n.genesis); err != nil {
		t.Error(err)
	} else if _, err := VerifyReceipt(n.genesis, raw); err != nil {
		t.Errorf("the certificate of the true event: %v", err)
	}
	// absence is no receipt
	absent := (&follow.Evidence{
		Proof: good.Legs[1].Prepared.Chain.Proof, Absent: emptyState(), Custody: good.custody(1),
	}).Encode()
	if _, err := readEvidence(n.genesis, "cypherium", absent); err == nil {
		t.Error("evidence of absence is taken for a receipt")
	}
}

func BenchmarkVerifyReceipt(b *testing.B) {
	n, raw := settledOutside(b)
	b.ResetTimer()
	for b.Loop() {
		if _, err := VerifyReceipt(n.genesis, raw); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(raw)), "bytes")
}

// settledOutside is settled in real time.
func settledOutside(b *testing.B) (*network, []byte) {
	b.Helper()
	w := newWorld(b)
	a, _ := w.start()
	defer w.stopAll()
	raw := w.evidence(a, w.submit(a, 1))
	return w.network, raw
}

// emptyState is the proof that an empty state holds nothing.
func emptyState() *state.Proof { return &state.Proof{} }
