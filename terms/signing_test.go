package terms_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
)

func TestBatchValid(t *testing.T) {
	sameSet := payment(1) // the same parties, connector and payee the other way round
	sameSet.Payee, sameSet.Connector = sameSet.Connector, sameSet.Payee
	sameSet.Legs[0].Credit.Owner = sameSet.Connector
	sameSet.Legs[1].Debit.Owner, sameSet.Legs[1].Credit.Owner = sameSet.Connector, sameSet.Payee
	elsewhere, stranger, twice, otherPayer := payment(1), payment(1), payment(1), payment(1)
	otherPayer.Payer, otherPayer.Payee = otherPayer.Payee, otherPayer.Payer
	otherPayer.Legs[0].Debit.Owner, otherPayer.Legs[1].Credit.Owner = otherPayer.Payer, otherPayer.Payee
	elsewhere.Network = cypherlink.NetworkID{2}
	stranger.Payee = party("mallory")
	stranger.Legs[1].Credit.Owner = stranger.Payee
	twice.UETR = payment(0).UETR
	for _, tt := range []struct {
		name  string
		batch *terms.Batch
		ok    bool
	}{
		{"one terms", batch(0, 1), true},
		{"as many as one signature covers", batch(0, terms.MaxBatch), true},
		{"the same parties in other roles", &terms.Batch{Terms: []*terms.Terms{payment(0), sameSet}}, true},
		{"none", batch(0, 0), false},
		{"one too many", batch(0, terms.MaxBatch+1), false},
		{"another network's", &terms.Batch{Terms: []*terms.Terms{payment(0), elsewhere}}, false},
		{"other parties'", &terms.Batch{Terms: []*terms.Terms{payment(0), stranger}}, false},
		{"another payer's", &terms.Batch{Terms: []*terms.Terms{payment(0), otherPayer}}, false},
		{"one payment twice", &terms.Batch{Terms: []*terms.Terms{payment(0), twice}}, false},
	} {
		err := tt.batch.Valid()
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, terms.ErrBatch) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if decoded, err := terms.DecodeBatch(tt.batch.Encode()); (err == nil) != tt.ok {
			t.Errorf("%s, decoded: %v", tt.name, err)
		} else if tt.ok && !bytes.Equal(decoded.Encode(), tt.batch.Encode()) {
			t.Errorf("%s: another encoding", tt.name)
		}
	}
}

func TestSessionWantsThePartiesInOrder(t *testing.T) {
	w := newWorld(t)
	job := mainJob()
	ids := job.Signers()
	reversed := slices.Clone(ids)
	slices.Reverse(reversed)
	for _, tt := range []struct {
		name  string
		payer cypherlink.ParticipantID
		ids   []cypherlink.ParticipantID
		ok    bool
	}{
		{"three in order", job.Payer, ids, true},
		{"two in order", ids[0], ids[:2], true},
		{"not in order", job.Payer, reversed, false},
		{"one party", ids[0], ids[:1], false},
		{"a payer outside", party("mallory"), ids, false},
	} {
		_, err := terms.NewSession(network, tt.payer, w.newRoster(t, cosi.All(), tt.ids...))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, terms.ErrSession) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestSessionsHaveScopesOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	job := mainJob()
	scopes := map[cypherlink.Hash]bool{}
	for _, payer := range job.Signers() {
		s, err := terms.NewSession(network, payer, w.roster)
		if err != nil {
			t.Fatal(err)
		}
		scopes[s.Frame(batch(0, 1)).Scope] = true
	}
	if len(scopes) != 3 {
		t.Fatalf("%d scopes for three payers", len(scopes))
	}
}

func TestCountersign(t *testing.T) {
	w := newWorld(t)
	job := mainJob()
	key := w.keys[job.Payee]
	failure := errors.New("the store is gone")
	stranger := batch(0, 1)
	stranger.Terms[0].Payee = party("mallory")
	stranger.Terms[0].Legs[1].Credit.Owner = party("mallory")
	for _, tt := range []struct {
		name  string
		batch *terms.Batch
		judge func(*terms.Batch) ([]terms.Refusal, error)
		want  error
	}{
		{"a batch of other parties", stranger, w.agree, terms.ErrSession},
		{"no batch", batch(0, 0), w.agree, terms.ErrBatch},
		{
			"a judge that cannot say", batch(0, 1),
			func(*terms.Batch) ([]terms.Refusal, error) { return nil, failure }, failure,
		},
		{
			"a judge that refuses nothing in order", batch(0, 2),
			func(*terms.Batch) ([]terms.Refusal, error) {
				return []terms.Refusal{refusalOf(1, "x"), refusalOf(0, "x")}, nil
			}, terms.ErrAnswer,
		},
	} {
		if _, err := w.session.Countersign(tt.batch, key, tt.judge); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	a, err := w.session.Countersign(batch(3, 2), key, func(*terms.Batch) ([]terms.Refusal, error) {
		return []terms.Refusal{refusalOf(1, "x")}, nil
	})
	if err != nil || a.Share != (cosi.Signature{}) || len(a.Refusals) != 1 || a.Sequence != 3 {
		t.Fatalf("a refusal: %+v, %v", a, err)
	}
	a, err = w.session.Countersign(batch(3, 2), key, w.agree)
	if err != nil || len(a.Refusals) != 0 {
		t.Fatalf("a share: %+v, %v", a, err)
	}
	member, _ := w.roster.Index(job.Payee)
	if err := w.roster.VerifyShare(w.session.Frame(batch(3, 2)), member, a.Share); err != nil {
		t.Fatal(err)
	}
}

func TestPathsAreInclusionProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := make([]merkle.Hash, rapid.IntRange(1, 300).Draw(t, "leaves"))
		for i := range leaves {
			leaves[i] = merkle.Leaf([]byte{byte(i), byte(i >> 8)})
		}
		all := terms.Paths(leaves)
		i := rapid.IntRange(0, len(leaves)-1).Draw(t, "index")
		want := merkle.Inclusion(leaves, i)
		if len(want) != len(all[i]) {
			t.Fatalf("%d hashes, want %d", len(all[i]), len(want))
		}
		for j, h := range want {
			if all[i][j] != h {
				t.Fatalf("hash %d", j)
			}
		}
	})
}

func TestProof(t *testing.T) {
	w := newWorld(t)
	proofs := w.prove(t, batch(9, 5))
	for i, p := range proofs {
		if err := p.Verify(network, w.roster); err != nil {
			t.Fatalf("proof %d: %v", i, err)
		}
	}
	one := w.prove(t, &terms.Batch{Terms: []*terms.Terms{payment(77)}})[0]
	weak := w.newRoster(t, cosi.Threshold(1), payment(0).Signers()...)
	job := payment(3)
	others := sorted(party("x"), party("y"), job.Payer)
	share, err := w.keys[job.Payer].Sign(w.session.Frame(batch(9, 5)))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		edit func(*terms.Proof)
	}{
		{"other terms", func(p *terms.Proof) { p.Terms = payment(2) }},
		{"invalid terms", func(p *terms.Proof) { p.Terms = payment(3); p.Terms.Legs[0].Amount = -1 }},
		{"a changed amount", func(p *terms.Proof) { p.Terms = payment(3); p.Terms.Legs[1].Amount++ }},
		{"another sequence", func(p *terms.Proof) { p.Sequence++ }},
		{"another index", func(p *terms.Proof) { p.Index-- }},
		{"another count", func(p *terms.Proof) { p.Count++ }},
		{"another root", func(p *terms.Proof) { p.Root[0]++ }},
		{"a shorter path", func(p *terms.Proof) { p.Path = p.Path[:1] }},
		{"a longer path", func(p *terms.Proof) { p.Path = append(slices.Clip(p.Path), cypherlink.Hash{}) }},
		{"another batch's certificate", func(p *terms.Proof) { p.Certificate = one.Certificate }},
		{"two of three parties", func(p *terms.Proof) { p.Certificate.Bitmap = []byte{3} }},
		{"one party alone", func(p *terms.Proof) {
			i, _ := w.roster.Index(job.Payer)
			p.Certificate = cosi.Certificate{Bitmap: []byte{1 << i}, Signature: share}
		}},
	}
	for _, tt := range tests {
		p := *proofs[3]
		tt.edit(&p)
		if err := p.Verify(network, w.roster); !errors.Is(err, terms.ErrProof) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for name, roster := range map[string]*cosi.Roster{
		"a roster with a weaker policy": weak,
		"a roster of other parties":     w.newRoster(t, cosi.All(), others...),
		"a roster of two":               w.newRoster(t, cosi.All(), sorted(job.Payee, job.Payer)...),
	} {
		if err := proofs[3].Verify(network, roster); !errors.Is(err, terms.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := proofs[3].Verify(cypherlink.NetworkID{2}, w.roster); !errors.Is(err, terms.ErrProof) {
		t.Errorf("another network: %v", err)
	}
}

func TestOnePartyAloneUnderAWeakRosterProvesNothing(t *testing.T) {
	w := newWorld(t)
	job := payment(0)
	weak := w.newRoster(t, cosi.Threshold(1), job.Signers()...)
	session, err := terms.NewSession(network, job.Payer, weak)
	if err != nil {
		t.Fatal(err)
	}
	b := batch(0, 1)
	frame := session.Frame(b)
	share, err := w.keys[job.Payer].Sign(frame)
	if err != nil {
		t.Fatal(err)
	}
	i, _ := weak.Index(job.Payer)
	hash := job.Hash()
	p := terms.Proof{
		Terms: job, Count: 1, Root: merkle.Leaf(hash[:]),
		Certificate: cosi.Certificate{Bitmap: []byte{1 << i}, Signature: share},
	}
	if err := weak.Verify(frame, p.Certificate); err != nil {
		t.Fatalf("the attack is not set up: %v", err)
	}
	if err := p.Verify(network, weak); !errors.Is(err, terms.ErrProof) {
		t.Fatalf("one of three proves: %v", err)
	}
}

// alone is the proof of one terms that this roster signed, whatever they say.
func (w *world) alone(t *testing.T, roster *cosi.Roster, job *terms.Terms) *terms.Proof {
	t.Helper()
	session, err := terms.NewSession(network, job.Payer, roster)
	if err != nil {
		t.Fatal(err)
	}
	frame := session.Frame(&terms.Batch{Terms: []*terms.Terms{job}})
	shares := map[int]cosi.Signature{}
	for i := range roster.Len() {
		if shares[i], err = w.keys[roster.Member(i).ID].Sign(frame); err != nil {
			t.Fatal(err)
		}
	}
	certificate, _, err := roster.Aggregate(frame, shares)
	if err != nil {
		t.Fatal(err)
	}
	hash := job.Hash()
	return &terms.Proof{Terms: job, Count: 1, Root: merkle.Leaf(hash[:]), Certificate: certificate}
}

func TestSignaturesThatProveNothing(t *testing.T) {
	w := newWorld(t)
	job, invalid := payment(0), payment(0)
	invalid.Legs[0].Amount = -1
	others := w.newRoster(t, cosi.All(), sorted(party("x"), party("y"), job.Payer)...)
	for _, tt := range []struct {
		name   string
		roster *cosi.Roster
		terms  *terms.Terms
		want   error
	}{
		{"the parties sign their terms", w.roster, job, nil},
		{"strangers sign for the parties", others, job, terms.ErrProof},
		{"the parties sign what is not acceptable", w.roster, invalid, terms.ErrProof},
	} {
		if err := w.alone(t, tt.roster, tt.terms).Verify(network, tt.roster); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func sorted(ids ...cypherlink.ParticipantID) []cypherlink.ParticipantID {
	slices.SortFunc(ids, func(a, b cypherlink.ParticipantID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

func TestEveryByteOfAProofCounts(t *testing.T) {
	w := newWorld(t)
	encoded := w.prove(t, batch(9, 3))[1].Encode()
	if len(encoded) > terms.MaxProofSize {
		t.Fatalf("%d bytes", len(encoded))
	}
	stride := 1
	if testing.Short() {
		stride = 11
	}
	for i := 0; i < len(encoded); i += stride {
		changed := slices.Clone(encoded)
		changed[i] ^= 1 << (i % 8)
		p, err := terms.DecodeProof(changed)
		if err == nil {
			err = p.Verify(network, w.roster)
		}
		if err == nil {
			t.Fatalf("byte %d changed: accepted", i)
		}
	}
}

func TestRefusalsAlwaysHaveAForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &cypherlink.Error{
			Code: cypherlink.Code(rapid.String().Draw(t, "code")), Reason: rapid.String().Draw(t, "reason"),
			Pointer: rapid.String().Draw(t, "pointer"), Message: rapid.String().Draw(t, "message"),
		}
		if rapid.Bool().Draw(t, "long") {
			e.Message = strings.Repeat("long é", 200) + e.Message
		}
		w := wire.NewWriter(64)
		terms.AppendRefusal(w, e)
		encoded := w.Bytes()
		if len(encoded) > terms.MaxRefusalSize {
			t.Fatalf("%d bytes", len(encoded))
		}
		r := wire.NewReader(encoded)
		got := terms.ReadRefusal(r)
		if err := r.End(); err != nil {
			t.Fatalf("%q: %v", encoded, err)
		}
		again := wire.NewWriter(64)
		terms.AppendRefusal(again, got)
		if !bytes.Equal(again.Bytes(), encoded) {
			t.Fatal("another encoding")
		}
	})
}

func TestAnswerRefusesForms(t *testing.T) {
	raw := func(code, reason, message string) []byte {
		w := wire.NewWriter(64)
		w.U64(1)
		w.U32(1)
		w.U16(0)
		w.Str(code)
		w.Str(reason)
		w.Str("")
		w.Str(message)
		return w.Bytes()
	}
	good := raw("quote_used", "AM09", "used")
	if _, err := terms.DecodeAnswer(good); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"a code in capitals":       raw("Quote", "AM09", ""),
		"no code":                  raw("", "AM09", ""),
		"a reason of three":        raw("x", "AM9", ""),
		"a reason in small":        raw("x", "am09", ""),
		"a message with a control": raw("x", "AM09", "a\nb"),
		"trailing bytes":           append(slices.Clone(good), 0),
		"cut":                      good[:len(good)-1],
		"too long":                 make([]byte, terms.MaxAnswerSize+1),
		"no share":                 good[:12],
	} {
		if _, err := terms.DecodeAnswer(b); !errors.Is(err, terms.ErrAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSigning(f *testing.F) {
	w := newWorld(f)
	f.Add(batch(1, 2).Encode())
	f.Add(w.prove(f, batch(9, 3))[1].Encode())
	for _, a := range []*terms.Answer{
		{Sequence: 3, Share: wrongShare(f, w.keys[mainJob().Payer])},
		{Sequence: 4, Refusals: []terms.Refusal{refusalOf(0, "a"), refusalOf(9, "b")}},
	} {
		f.Add(a.Encode())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if b, err := terms.DecodeBatch(raw); err == nil && !bytes.Equal(b.Encode(), raw) {
			t.Fatal("a batch has two encodings")
		}
		if a, err := terms.DecodeAnswer(raw); err == nil && !bytes.Equal(a.Encode(), raw) {
			t.Fatal("an answer has two encodings")
		}
		if p, err := terms.DecodeProof(raw); err == nil && !bytes.Equal(p.Encode(), raw) {
			t.Fatal("a proof has two encodings")
		}
	})
}
