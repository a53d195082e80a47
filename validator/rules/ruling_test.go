package rules_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/validator"
	"github.com/cypherlink/cypherlink/validator/rules"
)

func TestRequestIsStrict(t *testing.T) {
	f := laptop(t, nil)
	q := request(t, f)
	b := q.Encode()
	got, err := rules.DecodeRequest(b)
	if err != nil || !bytes.Equal(got.Encode(), b) || len(b) > rules.MaxRequest {
		t.Fatal(err)
	}
	if _, err := decide(t, judge(t), now, got); err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := rules.DecodeRequest(b[:n]); !errors.Is(err, rules.ErrRequest) {
			t.Fatalf("the first %d bytes are read", n)
		}
	}
	if _, err := rules.DecodeRequest(append(bytes.Clone(b), 0)); !errors.Is(err, rules.ErrRequest) {
		t.Fatal("a byte too many is read")
	}
	q.Terms = make([]byte, rules.MaxTermsProof+1)
	if _, err := rules.DecodeRequest(q.Encode()); !errors.Is(err, rules.ErrRequest) {
		t.Fatal("a proof that is too long is read")
	}
	q.Terms, q.Told = nil, slices.Repeat(tell(t, f, kyc.Purpose), kyc.FieldCount+1)
	if _, err := rules.DecodeRequest(q.Encode()); !errors.Is(err, rules.ErrRequest) {
		t.Fatal("more fields than there are are read")
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add(request(f, laptop(f, nil)).Encode())
	f.Add((&rules.Request{}).Encode())
	j := judge(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := rules.DecodeRequest(b)
		if err != nil {
			return
		}
		if again := q.Encode(); !bytes.Equal(again, b) || len(b) > rules.MaxRequest {
			t.Fatalf("%x has another form %x", b, again)
		}
		c, err := j.Open(party("alice"), q)
		if err != nil {
			return
		}
		_, err = j.Decide(now, [32]byte{1}, c)
		if err != nil && cypherlink.ErrorCode(err) != rules.CodeExpired {
			t.Fatal(err)
		}
	})
}

func subject(r *rules.Ruling) *validator.Subject { return &r.Signed.Verdict.Subject }

func TestRecheck(t *testing.T) {
	o := options(t)
	tests := []struct {
		name string
		edit func(*rules.Ruling)
	}{
		{"another rule set's", func(r *rules.Ruling) { r.Signed.Verdict.RuleSet[0]++ }},
		{"another hash of inputs", func(r *rules.Ruling) { r.Signed.Verdict.Inputs[0]++ }},
		{"other inputs", func(r *rules.Ruling) { r.Inputs.DebtorScore++ }},
		{"inputs of another leg", func(r *rules.Ruling) { subject(r).Leg++ }},
		{"inputs of another asset", func(r *rules.Ruling) { subject(r).Fields.Asset.Code = "USD" }},
		{"inputs of another amount", func(r *rules.Ruling) { subject(r).Fields.Amount++ }},
		{"valid beyond the leg", func(r *rules.Ruling) { r.Signed.Verdict.ValidUntil = sourceExpiry + 1 }},
		{"over before it was judged", func(r *rules.Ruling) { r.Signed.Verdict.ValidUntil = now }},
		{"a rejection of what passes", func(r *rules.Ruling) {
			r.Signed.Verdict.Outcome, r.Signed.Verdict.Reason = validator.Rejected, "RR04"
		}},
		{"an approval of what does not", func(r *rules.Ruling) {
			r.Inputs.Amount = 1_000_000_001
			subject(r).Fields.Amount = r.Inputs.Amount
			r.Signed.Verdict.Inputs = r.Inputs.Hash()
		}},
		{"another rule's", func(r *rules.Ruling) { r.Rule = "screening" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := decide(t, judge(t), now, request(t, laptop(t, nil)))
			if err != nil {
				t.Fatal(err)
			}
			tt.edit(r)
			if err := o.Set.Recheck(r); !errors.Is(err, rules.ErrRecheck) {
				t.Fatal(err)
			}
		})
	}
}

func TestRulingIsStrict(t *testing.T) {
	key, _ := identity(t, 1)
	r, err := decide(t, judge(t), now, request(t, laptop(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Sign(cypherlink.NetworkID{1}, key); err != nil {
		t.Fatal(err)
	}
	b := r.Encode()
	got, err := rules.DecodeRuling(b)
	if err != nil || *got != *r {
		t.Fatalf("another ruling: %v", err)
	}
	for n := range b {
		if _, err := rules.DecodeRuling(b[:n]); !errors.Is(err, rules.ErrRuling) {
			t.Fatalf("the first %d bytes are read", n)
		}
	}
	if _, err := rules.DecodeRuling(append(b, 0)); !errors.Is(err, rules.ErrRuling) {
		t.Fatal("a byte too many is read")
	}
}

func FuzzDecodeRuling(f *testing.F) {
	r, err := decide(f, judge(f), now, request(f, laptop(f, nil)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Encode())
	s := euroSet(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := rules.DecodeRuling(b)
		if err != nil {
			return
		}
		if again := r.Encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x has another form %x", b, again)
		}
		_ = s.Recheck(r)
	})
}
