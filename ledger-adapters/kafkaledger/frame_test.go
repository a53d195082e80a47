package kafkaledger

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

func testQuery() *query {
	w := ledgertest.NewWorld()
	q := &query{
		network: w.Network, ledger: w.Ledger, signer: w.Bob.ID, sequence: 7, custody: ledger.CustodyID{1},
	}
	q.signature, _ = w.Bob.Sign(q.frame())
	return q
}

func testRefusal() *refusal {
	w := ledgertest.NewWorld()
	o := ledger.Operator{Network: w.Network, Ledger: w.Ledger, Key: w.Operator.Key}
	r := newRefusal(&o, cypherlink.Hash{5}, &cypherlink.Error{
		Code: ledger.CodeFunds, Reason: "AM04", Message: "the debit account does not cover the amount",
	})
	r.signature, _ = w.Operator.Sign(r.frame())
	return r
}

func TestFormsAreStrict(t *testing.T) {
	for name, form := range map[string]struct {
		encoded []byte
		decode  func([]byte) ([]byte, error)
	}{
		"query": {testQuery().encode(), func(b []byte) ([]byte, error) {
			q, err := decodeQuery(b)
			if err != nil {
				return nil, err
			}
			return q.encode(), nil
		}},
		"refusal": {testRefusal().encode(), func(b []byte) ([]byte, error) {
			r, err := decodeRefusal(b)
			if err != nil {
				return nil, err
			}
			return r.encode(), nil
		}},
	} {
		again, err := form.decode(form.encoded)
		if err != nil || !bytes.Equal(again, form.encoded) {
			t.Errorf("%s: %x became %x, %v", name, form.encoded, again, err)
		}
		for n := range form.encoded {
			if _, err := form.decode(form.encoded[:n]); !errors.Is(err, errValue) {
				t.Fatalf("%s: the first %d bytes: %v", name, n, err)
			}
		}
		if _, err := form.decode(append(form.encoded, 0)); !errors.Is(err, errValue) {
			t.Errorf("%s: a trailing byte: %v", name, err)
		}
	}
	r := testRefusal()
	r.code = ""
	if _, err := decodeRefusal(r.encode()); !errors.Is(err, errValue) {
		t.Errorf("a refusal without a code: %v", err)
	}
	for _, value := range [][]byte{nil, {}, make([]byte, maxValue+1)} {
		if _, _, err := unframe(value); !errors.Is(err, errValue) {
			t.Errorf("a value of %d bytes: %v", len(value), err)
		}
	}
}

func TestRefusalsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := testRefusal()
		r.code = cypherlink.Code(rapid.StringN(1, 16, maxCode).Draw(t, "code"))
		r.reason = rapid.StringN(0, 4, maxReason).Draw(t, "reason")
		r.message = rapid.StringN(0, 64, maxMessage).Draw(t, "message")
		got, err := decodeRefusal(r.encode())
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("%+v became %+v, %v", r, got, err)
		}
	})
}

// Each field is under the signature.
func TestSignaturesCoverEveryField(t *testing.T) {
	w := ledgertest.NewWorld()
	for name, edit := range map[string]func(*query){
		"network":  func(q *query) { q.network[0]++ },
		"ledger":   func(q *query) { q.ledger = "df" },
		"signer":   func(q *query) { q.signer[0]++ },
		"sequence": func(q *query) { q.sequence++ },
		"custody":  func(q *query) { q.custody[0]++ },
	} {
		q := testQuery()
		if err := cosi.VerifyEd25519(w.Bob.Key, q.frame(), q.signature); err != nil {
			t.Fatal(err)
		}
		edit(q)
		if err := cosi.VerifyEd25519(w.Bob.Key, q.frame(), q.signature); !errors.Is(err, cosi.ErrSignature) {
			t.Errorf("query: %s: %v", name, err)
		}
	}
	o := &ledger.Operator{Network: w.Network, Ledger: w.Ledger, Key: w.Operator.Key}
	for name, edit := range map[string]func(*refusal){
		"network": func(r *refusal) { r.network[0]++ },
		"ledger":  func(r *refusal) { r.ledger = "df" },
		"command": func(r *refusal) { r.command[0]++ },
		"code":    func(r *refusal) { r.code = "another" },
		"reason":  func(r *refusal) { r.reason = "AM05" },
		"message": func(r *refusal) { r.message = "another" },
	} {
		r := testRefusal()
		if err := r.check(o); err != nil {
			t.Fatal(err)
		}
		edit(r)
		if r.check(o) == nil {
			t.Errorf("refusal: %s is not under the signature", name)
		}
		r.signature, _ = w.Operator.Sign(r.frame())
		if foreign := name == "network" || name == "ledger"; (r.check(o) != nil) != foreign {
			t.Errorf("refusal: %s: %v", name, r.check(o))
		}
	}
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add(testQuery().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeQuery(b); err == nil && !bytes.Equal(q.encode(), b) {
			t.Fatalf("%x has another form", b)
		}
	})
}

func FuzzDecodeRefusal(f *testing.F) {
	f.Add(testRefusal().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRefusal(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Fatalf("%x has another form", b)
		}
	})
}
