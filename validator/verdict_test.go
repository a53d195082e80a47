package validator_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

const (
	now        = 1_800_000_000
	validUntil = now + 60
)

// actor is somebody with an Ed25519 identity key of crypto/ed25519, which serves as an
// independent signer.
type actor struct {
	id      cypherlink.ParticipantID
	key     [32]byte
	private ed25519.PrivateKey
}

func newActor(name string) actor {
	seed := wire.Sum("test/seed", []byte(name))
	private := ed25519.NewKeyFromSeed(seed[:])
	key := [32]byte(private.Public().(ed25519.PublicKey))
	return actor{id: cypherlink.NewParticipantID(key), key: key, private: private}
}

func (a actor) sign(network cypherlink.NetworkID, v validator.Verdict) validator.Signed {
	frame := v.Frame(network).Encode()
	return validator.Signed{
		Verdict: v, Validator: a.id, Signature: [64]byte(ed25519.Sign(a.private, frame[:])),
	}
}

func network() cypherlink.NetworkID { return cypherlink.NetworkID{1, 2, 3} }

func subject() validator.Subject {
	return validator.Subject{
		Terms: cypherlink.Hash{1}, Leg: 1,
		Fields: terms.Leg{
			Asset:  cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2},
			Debit:  cypherlink.Account{Owner: cypherlink.ParticipantID{2}, Number: 3},
			Credit: cypherlink.Account{Owner: cypherlink.ParticipantID{4}, Number: 5},
			Amount: 1_001_00, Expiry: now + 32,
		},
		Condition: cypherlink.Preimage{6}.Condition(),
	}
}

func ruleSet() cypherlink.Hash { return cypherlink.Hash{7} }

func approval() validator.Verdict {
	return validator.Verdict{
		Subject: subject(), ValidUntil: validUntil, RuleSet: ruleSet(), Inputs: cypherlink.Hash{8},
		Outcome: validator.Approved,
	}
}

// subjectEdits changes each field of a subject, one at a time.
func subjectEdits() map[string]func(*validator.Subject) {
	return map[string]func(*validator.Subject){
		"terms":         func(s *validator.Subject) { s.Terms[31]++ },
		"leg":           func(s *validator.Subject) { s.Leg++ },
		"ledger":        func(s *validator.Subject) { s.Fields.Asset.Ledger = "df" },
		"code":          func(s *validator.Subject) { s.Fields.Asset.Code = "USD" },
		"scale":         func(s *validator.Subject) { s.Fields.Asset.Scale++ },
		"debit owner":   func(s *validator.Subject) { s.Fields.Debit.Owner[31]++ },
		"debit number":  func(s *validator.Subject) { s.Fields.Debit.Number++ },
		"credit owner":  func(s *validator.Subject) { s.Fields.Credit.Owner[31]++ },
		"credit number": func(s *validator.Subject) { s.Fields.Credit.Number++ },
		"amount":        func(s *validator.Subject) { s.Fields.Amount++ },
		"expiry":        func(s *validator.Subject) { s.Fields.Expiry++ },
		"condition":     func(s *validator.Subject) { s.Condition[31]++ },
	}
}

func encode(s validator.Signed) []byte {
	var w wire.Writer
	s.AppendWire(&w)
	return w.Bytes()
}

func decode(b []byte) (validator.Signed, error) {
	r := wire.NewReader(b)
	s := validator.ReadSigned(r)
	return s, r.End()
}

// A signature over one verdict never stands for another: every field is under it.
func TestFrameCoversEveryField(t *testing.T) {
	edits := map[string]func(*validator.Verdict){
		"valid until": func(v *validator.Verdict) { v.ValidUntil++ },
		"rule set":    func(v *validator.Verdict) { v.RuleSet[0]++ },
		"inputs":      func(v *validator.Verdict) { v.Inputs[0]++ },
		"outcome":     func(v *validator.Verdict) { v.Outcome = validator.Held },
		"reason":      func(v *validator.Verdict) { v.Reason = "RR04" },
	}
	for name, edit := range subjectEdits() {
		edits["subject "+name] = func(v *validator.Verdict) { edit(&v.Subject) }
	}
	v1 := newActor("validator 1")
	signed := v1.sign(network(), approval())
	verdict := approval()
	if err := cosi.VerifyEd25519(v1.key, verdict.Frame(network()), signed.Signature); err != nil {
		t.Fatalf("the verdict itself: %v", err)
	}
	for name, edit := range edits {
		changed := approval()
		edit(&changed)
		if cosi.VerifyEd25519(v1.key, changed.Frame(network()), signed.Signature) == nil {
			t.Errorf("%s is not under the signature", name)
		}
	}
	if cosi.VerifyEd25519(v1.key, verdict.Frame(cypherlink.NetworkID{}), signed.Signature) == nil {
		t.Error("the network is not under the signature")
	}
}

func TestReadSigned(t *testing.T) {
	verdict := func(outcome validator.Outcome, reason string) validator.Verdict {
		v := approval()
		v.Outcome, v.Reason = outcome, reason
		return v
	}
	tests := []struct {
		name    string
		verdict validator.Verdict
		ok      bool
	}{
		{"an approval", verdict(validator.Approved, ""), true},
		{"an approval with a reason", verdict(validator.Approved, "RR04"), false},
		{"a rejection with a reason", verdict(validator.Rejected, "RR04"), true},
		{"a rejection without a reason", verdict(validator.Rejected, ""), false},
		{"a hold with a reason", verdict(validator.Held, "FR01"), true},
		{"a hold without a reason", verdict(validator.Held, ""), false},
		{"a reason of three characters", verdict(validator.Rejected, "RR0"), false},
		{"a reason in lower case", verdict(validator.Rejected, "rr04"), false},
		{"a reason beyond ASCII", verdict(validator.Rejected, "RRé"), false},
		{"outcome zero", verdict(0, ""), false},
		{"outcome four", verdict(4, "RR04"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			signed := newActor("validator 1").sign(network(), tt.verdict)
			got, err := decode(encode(signed))
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, validator.ErrVerdict) {
				t.Fatalf("%v, want ok %v", err, tt.ok)
			}
			if tt.ok && !reflect.DeepEqual(got, signed) {
				t.Fatalf("read %+v, want %+v", got, signed)
			}
		})
	}
	t.Run("every shorter input", func(t *testing.T) {
		b := encode(newActor("validator 1").sign(network(), approval()))
		for n := range b {
			if _, err := decode(b[:n]); err == nil {
				t.Fatalf("the first %d bytes are read", n)
			}
		}
	})
}

func TestEncodeAndReadAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := approval()
		v.Subject.Leg = rapid.Uint8().Draw(t, "leg")
		v.ValidUntil = rapid.Int64().Draw(t, "valid until")
		v.Subject.Fields.Amount = cypherlink.Amount(rapid.Int64().Draw(t, "amount"))
		v.Outcome = rapid.SampledFrom([]validator.Outcome{
			validator.Approved, validator.Rejected, validator.Held,
		}).Draw(t, "outcome")
		if v.Outcome != validator.Approved {
			v.Reason = rapid.StringMatching(`[A-Z0-9]{4}`).Draw(t, "reason")
		}
		s := newActor("validator 1").sign(network(), v)
		got, err := decode(encode(s))
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("%+v became %+v, %v", s, got, err)
		}
	})
}

func FuzzReadSigned(f *testing.F) {
	rejected := approval()
	rejected.Outcome, rejected.Reason = validator.Rejected, "RR04"
	f.Add(encode(newActor("validator 1").sign(network(), approval())))
	f.Add(encode(newActor("validator 2").sign(network(), rejected)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decode(b)
		if err == nil && !bytes.Equal(encode(s), b) {
			t.Fatalf("%x has another form %x", b, encode(s))
		}
	})
}
