package rules_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
	"github.com/cypherlink/cypherlink/validator/rules"
)

// decide opens and decides.
func decide(tb testing.TB, j *rules.Judge, at int64, q *rules.Request) (*rules.Ruling, error) {
	tb.Helper()
	c, err := j.Open(party("alice"), q)
	if err != nil {
		return nil, err
	}
	return j.Decide(at, [32]byte{5}, c)
}

func TestJudgeApprovesTheMainJob(t *testing.T) {
	f := laptop(t, nil)
	agreed := mainJob(t, f)
	o := options(t)
	got, err := decide(t, judge(t), now, request(t, f))
	if err != nil {
		t.Fatal(err)
	}
	v := got.Signed.Verdict
	want := validator.Verdict{
		Subject: validator.Subject{
			Terms: agreed.Hash(), Leg: 0, Fields: agreed.Legs[0], Condition: agreed.Condition,
		},
		ValidUntil: sourceExpiry, // before now + validity
		RuleSet:    o.Set.Hash(), Inputs: got.Inputs.Hash(), Outcome: validator.Approved,
	}
	if v != want || got.Rule != "" || got.Signed.Validator != o.Self || got.Signed.Signature != [64]byte{} {
		t.Fatalf("%+v, rule %q", v, got.Rule)
	}
	in := got.Inputs
	if in.Debit.String() != "DEUTDEFFXXX" || in.Credit.String() != "CHASDEFXXXX" || in.ExpiresIn != 32 ||
		in.Salt != [32]byte{5} || in.List != o.List.Hash() {
		t.Fatal("inputs differ")
	}
	if err := o.Set.Recheck(got); err != nil {
		t.Fatal(err)
	}
}

// The whole way: judged, signed, and taken by the check that every ledger makes.
func TestSignedRulingPassesThePolicy(t *testing.T) {
	key, self := identity(t, 1)
	o := options(t)
	ruling, err := decide(t, judge(t), now, request(t, laptop(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := ruling.Sign(o.Network, key); err != nil {
		t.Fatal(err)
	}
	keys := registry{self: key.Public()}
	subject := ruling.Signed.Verdict.Subject
	signed := []validator.Signed{ruling.Signed}
	if err := o.Policy.Check(o.Network, subject, signed, keys, cosi.VerifyEd25519Batch, now); err != nil {
		t.Fatal(err)
	}
	if err := o.Policy.Check(cypherlink.NetworkID{2}, subject, signed, keys, cosi.VerifyEd25519Batch, now); err == nil {
		t.Fatal("taken on another network")
	}
	if err := o.Policy.Check(o.Network, subject, signed, keys, cosi.VerifyEd25519Batch, sourceExpiry); err == nil {
		t.Fatal("taken when the leg has expired")
	}
	subject.Leg = terms.Destination
	if err := o.Policy.Check(o.Network, subject, signed, keys, cosi.VerifyEd25519Batch, now); err == nil {
		t.Fatal("taken for another leg")
	}
}

type registry map[cypherlink.ParticipantID][32]byte

func (r registry) Key(id cypherlink.ParticipantID) ([32]byte, bool) {
	key, ok := r[id]
	return key, ok
}

var errToken = errors.New("the token is away")

type noKey struct{}

func (noKey) Sign(cosi.Frame) ([64]byte, error) { return [64]byte{1}, errToken }

func TestSignReportsTheKeysError(t *testing.T) {
	ruling, err := decide(t, judge(t), now, request(t, laptop(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := ruling.Sign(cypherlink.NetworkID{1}, noKey{}); !errors.Is(err, errToken) {
		t.Fatal(err)
	}
	if ruling.Signed.Signature != [64]byte{} {
		t.Fatal("a signature all the same")
	}
}

func TestOpenRefuses(t *testing.T) {
	f := laptop(t, nil)
	told := tell(t, f, euroSet(t).Needs()...)
	agreed := func(edit func(*terms.Terms)) []byte {
		a := mainJob(t, f)
		edit(&a)
		return prove(&a)
	}
	another := laptop(t, func(d *kyc.Disclosure) { d.Debtor.Name = "Al Capone" })
	altered := func(edit func([]kyc.Proof)) []kyc.Proof {
		proofs := slices.Clone(told)
		edit(proofs)
		return proofs
	}
	ask := func(edit func(*rules.Request)) *rules.Request {
		q := request(t, f)
		edit(q)
		return q
	}
	tests := []struct {
		name    string
		asker   string
		request *rules.Request
		code    cypherlink.Code
		reason  string
	}{
		{"the main job's", "alice", request(t, f), "", ""},
		{"asked by the payee's bank", "bob", request(t, f), "", ""},
		{"asked by the connector", "clearing", request(t, f), "", ""},
		{"nothing told", "alice", ask(func(q *rules.Request) { q.Told = nil }), "", ""},
		{"asked by mallory", "mallory", request(t, f), rules.CodeParty, ""},
		{"terms that nobody signed", "alice", ask(func(q *rules.Request) {
			q.Terms = q.Terms[7:]
		}), rules.CodeProof, "DS0B"},
		{"terms that contradict themselves", "alice", ask(func(q *rules.Request) {
			q.Terms = agreed(func(a *terms.Terms) { a.Legs[0].Amount = 0 })
		}), rules.CodeProof, "DS0B"},
		{"terms of another network", "alice", ask(func(q *rules.Request) {
			q.Terms = agreed(func(a *terms.Terms) { a.Network[7]++ })
		}), rules.CodeNetwork, ""},
		{"a third leg", "alice", ask(func(q *rules.Request) { q.Leg = 2 }), rules.CodeLeg, ""},
		{"another Validator's leg", "alice", ask(func(q *rules.Request) {
			q.Leg = terms.Destination
		}), rules.CodeAsset, ""},
		{"another asset of the ledger", "alice", ask(func(q *rules.Request) {
			q.Terms = agreed(func(a *terms.Terms) { a.Legs[0].Asset.Code = "USD" })
		}), rules.CodeAsset, ""},
		{"another scale", "alice", ask(func(q *rules.Request) {
			q.Terms = agreed(func(a *terms.Terms) { a.Legs[0].Asset.Scale = 3 })
		}), rules.CodeAsset, ""},
		{"a debited bank that nobody knows", "stranger", ask(func(q *rules.Request) {
			q.Terms = agreed(func(a *terms.Terms) {
				a.Payer, a.Legs[0].Debit.Owner = party("stranger"), party("stranger")
			})
		}), rules.CodeParticipant, "AGNT"},
		{"a credited bank that nobody knows", "alice", ask(func(q *rules.Request) {
			q.Terms = agreed(func(a *terms.Terms) {
				a.Connector = party("stranger")
				a.Legs[0].Credit.Owner, a.Legs[1].Debit.Owner = a.Connector, a.Connector
			})
		}), rules.CodeParticipant, "AGNT"},
		{"another payment's file", "alice", ask(func(q *rules.Request) {
			q.Told = tell(t, another, kyc.CreditorName)
		}), rules.CodeDisclosure, ""},
		{"terms over another file", "alice", ask(func(q *rules.Request) {
			q.Terms = agreed(func(a *terms.Terms) { a.KYC[0]++ })
		}), rules.CodeDisclosure, ""},
		{"an altered name", "alice", ask(func(q *rules.Request) {
			q.Told = altered(func(p []kyc.Proof) { p[0].Text = "Al Capone" })
		}), rules.CodeDisclosure, ""},
		{"an altered salt", "alice", ask(func(q *rules.Request) {
			q.Told = altered(func(p []kyc.Proof) { p[0].Salt[0]++ })
		}), rules.CodeDisclosure, ""},
		{"a field told twice", "alice", ask(func(q *rules.Request) {
			q.Told = append(slices.Clone(told), told[len(told)-1])
		}), rules.CodeDisclosure, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := judge(t).Open(party(tt.asker), tt.request)
			if cypherlink.ErrorCode(err) != tt.code || (c == nil) != (tt.code != "") {
				t.Fatalf("%v", err)
			}
			refusal, _ := errors.AsType[*cypherlink.Error](err)
			if err != nil && (refusal.Reason != tt.reason || strings.Contains(err.Error(), "Capone")) {
				t.Fatalf("%+v", refusal)
			}
		})
	}
}

// careless is a port that vouches for whatever it is given.
type careless struct{ terms terms.Terms }

func (c careless) VerifyProof([]byte) (*terms.Terms, error) { return &c.terms, nil }

func TestTermsThatContradictThemselvesAreNotJudged(t *testing.T) {
	f := laptop(t, nil)
	agreed := mainJob(t, f)
	for _, amount := range []cypherlink.Amount{agreed.Legs[0].Amount, 0} {
		agreed.Legs[0].Amount = amount
		j, err := rules.NewJudge(options(t), careless{agreed}, banks(t))
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Open(party("alice"), request(t, f))
		if amount == 0 && cypherlink.ErrorCode(err) != rules.CodeProof || amount != 0 && err != nil {
			t.Fatalf("amount %d: %v", amount, err)
		}
	}
}

func TestDecideMindsTheTime(t *testing.T) {
	long := mainJob(t, laptop(t, nil))
	long.Legs[0].Expiry = now + 1000
	f := laptop(t, nil)
	late := &rules.Request{Terms: prove(&long), Told: request(t, f).Told}
	tests := []struct {
		name       string
		request    *rules.Request
		at         int64
		validUntil int64 // zero: refused
		reason     string
	}{
		{"long before the expiry", late, now, now + validity, ""},
		{"the expiry comes first", late, now + 950, now + 1000, ""},
		{"too near to the expiry for the rules", late, now + 991, now + 1000, "TM01"},
		{"in the last second", late, now + 999, now + 1000, "TM01"},
		{"at the expiry", late, now + 1000, 0, ""},
		{"after the expiry", late, math.MaxInt64, 0, ""},
		{"before all time", late, -1, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decide(t, judge(t), tt.at, tt.request)
			if tt.validUntil == 0 {
				refusal, _ := errors.AsType[*cypherlink.Error](err)
				if cypherlink.ErrorCode(err) != rules.CodeExpired || refusal.Reason != "TM01" {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v := got.Signed.Verdict
			if v.ValidUntil != tt.validUntil || v.Reason != tt.reason {
				t.Fatalf("%+v", v)
			}
		})
	}
	c, err := judge(t).Open(party("alice"), late)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := judge(t).Decide(now, [32]byte{}, c); cypherlink.ErrorCode(err) != rules.CodeSalt {
		t.Fatalf("decided without a salt: %v", err)
	}
}

// The Validator screens the names itself; the verdict says RR04 and nothing of the rest.
func TestJudgeScreens(t *testing.T) {
	rejected, held := validator.Rejected, validator.Held
	debtor := func(name string) func(*kyc.Disclosure) {
		return func(d *kyc.Disclosure) { d.Debtor.Name = name }
	}
	creditor := func(name string) func(*kyc.Disclosure) {
		return func(d *kyc.Disclosure) { d.Creditor.Name = name }
	}
	tests := []struct {
		name    string
		edit    func(*kyc.Disclosure)
		outcome validator.Outcome
		rule    string
	}{
		{"a listed debtor", debtor("CAPONE, AL"), rejected, "screening"},
		{"a listed creditor", creditor("Kim Jong-un"), rejected, "screening"},
		{"nearly a listed name", creditor("Kim Jeon Ung"), held, "screening-review"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decide(t, judge(t), now, request(t, laptop(t, tt.edit)))
			if err != nil {
				t.Fatal(err)
			}
			v := got.Signed.Verdict
			if v.Outcome != tt.outcome || v.Reason != "RR04" || got.Rule != tt.rule {
				t.Fatalf("outcome %d, reason %s, rule %s, scores %d %d",
					v.Outcome, v.Reason, got.Rule, got.Inputs.DebtorScore, got.Inputs.CreditorScore)
			}
		})
	}
	t.Run("a name that is kept back does not pass", func(t *testing.T) {
		f := laptop(t, nil)
		q := request(t, f)
		q.Told = q.Told[1:]
		got, err := decide(t, judge(t), now, q)
		if err != nil || got.Signed.Verdict.Reason != "RR02" || got.Inputs.DebtorScore != 0 {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	tests := []struct {
		name string
		edit func(*rules.Options)
	}{
		{"an asset that is none", func(o *rules.Options) { o.Asset.Code = "" }},
		{"a policy that nobody can meet", func(o *rules.Options) { o.Policy.Threshold = 3 }},
		{"no rule set", func(o *rules.Options) { o.Set = nil }},
		{"no list", func(o *rules.Options) { o.List = nil }},
		{"a policy that does not name the Validator", func(o *rules.Options) { o.Self = party("mallory") }},
		{"a policy by another rule set", func(o *rules.Options) { o.Policy.RuleSet[0]++ }},
		{"no validity", func(o *rules.Options) { o.Validity = 0 }},
		{"a validity of more than a day", func(o *rules.Options) { o.Validity = rules.MaxValidity + 1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t)
			tt.edit(&o)
			if _, err := rules.NewJudge(o, agreements{}, banks(t)); !errors.Is(err, rules.ErrOptions) {
				t.Fatal(err)
			}
		})
	}
}

// Same request, same time, same salt: same ruling, byte by byte.
func TestJudgeIsDeterministic(t *testing.T) {
	var first []byte
	for range 100 {
		got, err := decide(t, judge(t), now, request(t, laptop(t, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if b := got.Encode(); first == nil {
			first = b
		} else if !bytes.Equal(b, first) {
			t.Fatal("another ruling")
		}
	}
}

func TestKeyIsOfTermsAndLeg(t *testing.T) {
	f := laptop(t, nil)
	agreed := mainJob(t, f)
	c, err := judge(t).Open(party("alice"), request(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if c.Key() != rules.Key(agreed.Hash(), 0) {
		t.Fatal(c.Key())
	}
	// Another asker, other fields told: the same case, and so the ruling that stands.
	q := request(t, f)
	q.Told = nil
	again, err := judge(t).Open(party("bob"), q)
	if err != nil || again.Key() != c.Key() {
		t.Fatal(err)
	}
	otherLeg, otherTerms := rules.Key(agreed.Hash(), 1), rules.Key(cypherlink.Hash{}, 0)
	if otherLeg == c.Key() || otherTerms == c.Key() || len(c.Key()) > 255 {
		t.Fatal(c.Key())
	}
}

// BenchmarkJudge is a request from bytes to a ruling, without the checks behind the ports
// and without the signature.
func BenchmarkJudge(b *testing.B) {
	raw, j := request(b, laptop(b, nil)).Encode(), judge(b)
	b.ReportAllocs()
	for b.Loop() {
		q, err := rules.DecodeRequest(raw)
		if err != nil {
			b.Fatal(err)
		}
		if r, err := decide(b, j, now, q); err != nil || r.Rule != "" {
			b.Fatal(err)
		}
	}
}
