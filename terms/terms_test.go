package terms_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
)

const (
	sourceExpiry      = 1_800_000_032
	destinationExpiry = 1_800_000_020
)

func party(name string) cypherlink.ParticipantID {
	return cypherlink.ParticipantID(wire.Sum("test/party", []byte(name)))
}

// mainJob is the main job's payment: 1,001.00 DE against 2,000.00 DC/EP.
func mainJob() terms.Terms {
	alice, bob, clearing := party("alice"), party("bob"), party("clearing")
	return terms.Terms{
		Network:   cypherlink.NetworkID{1},
		UETR:      uetr(),
		Payer:     alice,
		Payee:     bob,
		Connector: clearing,
		Legs: []terms.Leg{
			{
				Asset:  cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2},
				Debit:  cypherlink.Account{Owner: alice},
				Credit: cypherlink.Account{Owner: clearing},
				Amount: 1_001_00, Expiry: sourceExpiry,
			},
			{
				Asset:  cypherlink.Asset{Ledger: "cypherium", Code: "CNY", Scale: 2},
				Debit:  cypherlink.Account{Owner: clearing, Number: 7},
				Credit: cypherlink.Account{Owner: bob},
				Amount: 2_000_00, Expiry: destinationExpiry,
			},
		},
		Condition: cypherlink.Preimage{9}.Condition(),
		Quote:     cypherlink.Hash{3},
		KYC:       cypherlink.Hash{4},
	}
}

// oneAsset is a payment on one ledger: no connector, no quote, one leg.
func oneAsset() terms.Terms {
	t := mainJob()
	t.Connector, t.Quote, t.Condition = cypherlink.ParticipantID{}, cypherlink.Hash{}, cypherlink.Condition{}
	t.Legs = t.Legs[:1]
	t.Legs[0].Credit.Owner = t.Payee
	return t
}

func uetr() cypherlink.UETR {
	u, err := cypherlink.ParseUETR("eb6305c9-1f7f-49de-aed0-16487c27b42d")
	if err != nil {
		panic(err)
	}
	return u
}

func TestValid(t *testing.T) {
	change := func(from func() terms.Terms, edit func(*terms.Terms)) terms.Terms {
		x := from()
		edit(&x)
		return x
	}
	tests := []struct {
		name  string
		terms terms.Terms
		ok    bool
	}{
		{"two ledgers and a connector", mainJob(), true},
		{"one asset and no connector", oneAsset(), true},
		{"the largest amount and the last expiry", change(oneAsset, func(x *terms.Terms) {
			x.Legs[0].Amount, x.Legs[0].Expiry = math.MaxInt64, terms.MaxExpiry
		}), true},
		{"no uetr", change(mainJob, func(x *terms.Terms) { x.UETR = cypherlink.UETR{} }), false},
		{"a uuid of another version", change(mainJob, func(x *terms.Terms) { x.UETR[6] = 0x10 }), false},
		{"no payer", change(mainJob, func(x *terms.Terms) { x.Payer = cypherlink.ParticipantID{} }), false},
		{"no payee", change(mainJob, func(x *terms.Terms) { x.Payee = cypherlink.ParticipantID{} }), false},
		{"the payer pays itself", change(oneAsset, func(x *terms.Terms) {
			x.Payee, x.Legs[0].Credit.Owner = x.Payer, x.Payer
		}), false},
		{"the connector is the payer", change(mainJob, func(x *terms.Terms) {
			x.Connector = x.Payer
		}), false},
		{"the connector is the payee", change(mainJob, func(x *terms.Terms) {
			x.Connector = x.Payee
		}), false},
		{"no leg", change(oneAsset, func(x *terms.Terms) { x.Legs = nil }), false},
		{"a connector with one leg", change(mainJob, func(x *terms.Terms) { x.Legs = x.Legs[:1] }), false},
		{"two legs without a connector", change(oneAsset, func(x *terms.Terms) {
			x.Legs = append(x.Legs, x.Legs[0])
		}), false},
		{"three legs", change(mainJob, func(x *terms.Terms) { x.Legs = append(x.Legs, x.Legs[1]) }), false},
		{"a connector without a quote", change(mainJob, func(x *terms.Terms) {
			x.Quote = cypherlink.Hash{}
		}), false},
		{"a quote without a connector", change(oneAsset, func(x *terms.Terms) {
			x.Quote = cypherlink.Hash{1}
		}), false},
		{"a condition without a connector", change(oneAsset, func(x *terms.Terms) {
			x.Condition = cypherlink.Condition{1}
		}), false},
		{"no condition", change(mainJob, func(x *terms.Terms) {
			x.Condition = cypherlink.Condition{}
		}), false},
		{"both legs on one ledger", change(mainJob, func(x *terms.Terms) {
			x.Legs[1].Asset.Ledger = "de"
		}), false},
		{"the source leg ends with the destination leg", change(mainJob, func(x *terms.Terms) {
			x.Legs[0].Expiry = destinationExpiry
		}), false},
		{"the source leg ends first", change(mainJob, func(x *terms.Terms) {
			x.Legs[0].Expiry = destinationExpiry - 1
		}), false},
		{"amount zero", change(mainJob, func(x *terms.Terms) { x.Legs[1].Amount = 0 }), false},
		{"amount below zero", change(mainJob, func(x *terms.Terms) { x.Legs[0].Amount = -1 }), false},
		{"expiry zero", change(oneAsset, func(x *terms.Terms) { x.Legs[0].Expiry = 0 }), false},
		{"expiry after the year 9999", change(oneAsset, func(x *terms.Terms) {
			x.Legs[0].Expiry = terms.MaxExpiry + 1
		}), false},
		{"an asset in lower case", change(mainJob, func(x *terms.Terms) {
			x.Legs[0].Asset.Code = "eur"
		}), false},
		{"the source debit is not the payer's", change(mainJob, func(x *terms.Terms) {
			x.Legs[0].Debit.Owner = x.Payee
		}), false},
		{"the source credit is not the connector's", change(mainJob, func(x *terms.Terms) {
			x.Legs[0].Credit.Owner = x.Payee
		}), false},
		{"the destination debit is not the connector's", change(mainJob, func(x *terms.Terms) {
			x.Legs[1].Debit.Owner = x.Payer
		}), false},
		{"the destination credit is not the payee's", change(mainJob, func(x *terms.Terms) {
			x.Legs[1].Credit.Owner = x.Connector
		}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.terms.Valid()
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, terms.ErrTerms) {
				t.Fatalf("Valid: %v, want ok %v", err, tt.ok)
			}
			decoded, err := terms.Decode(tt.terms.Encode())
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, terms.ErrTerms) {
				t.Fatalf("Decode: %v, want ok %v", err, tt.ok)
			}
			if tt.ok && !reflect.DeepEqual(*decoded, tt.terms) {
				t.Fatalf("decoded %+v, want %+v", *decoded, tt.terms)
			}
		})
	}
}

func TestPartiesSignInOrder(t *testing.T) {
	cross, single := mainJob(), oneAsset()
	if got := cross.Parties(); !reflect.DeepEqual(got,
		[]cypherlink.ParticipantID{cross.Payer, cross.Payee, cross.Connector}) {
		t.Errorf("with a connector: %v", got)
	}
	if got := single.Parties(); !reflect.DeepEqual(got,
		[]cypherlink.ParticipantID{single.Payer, single.Payee}) {
		t.Errorf("without one: %v", got)
	}
}

// Every field is under the hash: no two different terms share one.
func TestHashCoversEveryField(t *testing.T) {
	edits := map[string]func(*terms.Terms){
		"network":          func(x *terms.Terms) { x.Network[7]++ },
		"uetr":             func(x *terms.Terms) { x.UETR[15]++ },
		"payer":            func(x *terms.Terms) { x.Payer[0]++ },
		"payee":            func(x *terms.Terms) { x.Payee[0]++ },
		"connector":        func(x *terms.Terms) { x.Connector[0]++ },
		"number of legs":   func(x *terms.Terms) { x.Legs = x.Legs[:1] },
		"leg order":        func(x *terms.Terms) { x.Legs[0], x.Legs[1] = x.Legs[1], x.Legs[0] },
		"ledger":           func(x *terms.Terms) { x.Legs[0].Asset.Ledger = "df" },
		"code":             func(x *terms.Terms) { x.Legs[0].Asset.Code = "EUS" },
		"scale":            func(x *terms.Terms) { x.Legs[0].Asset.Scale = 3 },
		"debit owner":      func(x *terms.Terms) { x.Legs[0].Debit.Owner[31]++ },
		"debit number":     func(x *terms.Terms) { x.Legs[0].Debit.Number++ },
		"credit owner":     func(x *terms.Terms) { x.Legs[1].Credit.Owner[31]++ },
		"credit number":    func(x *terms.Terms) { x.Legs[1].Credit.Number++ },
		"amount":           func(x *terms.Terms) { x.Legs[1].Amount++ },
		"expiry":           func(x *terms.Terms) { x.Legs[1].Expiry++ },
		"condition":        func(x *terms.Terms) { x.Condition[0]++ },
		"quote":            func(x *terms.Terms) { x.Quote[0]++ },
		"kyc":              func(x *terms.Terms) { x.KYC[0]++ },
		"no edit, control": func(*terms.Terms) {},
	}
	original := mainJob()
	seen := map[cypherlink.Hash]string{}
	for name, edit := range edits {
		x := mainJob()
		edit(&x)
		if other, ok := seen[x.Hash()]; ok {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[x.Hash()] = name
	}
	if seen[original.Hash()] != "no edit, control" {
		t.Error("the hash depends on more than the fields")
	}
}

func TestDecodeRefusesOtherLengths(t *testing.T) {
	x := mainJob()
	b := x.Encode()
	if len(b) > terms.MaxSize {
		t.Fatalf("%d bytes, more than MaxSize", len(b))
	}
	for n := range b {
		if _, err := terms.Decode(b[:n]); !errors.Is(err, terms.ErrTerms) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	if _, err := terms.Decode(append(b, 0)); !errors.Is(err, wire.ErrTrailing) {
		t.Errorf("a trailing byte: %v", err)
	}
	if _, err := terms.Decode(make([]byte, terms.MaxSize+1)); !errors.Is(err, terms.ErrTerms) {
		t.Errorf("too long: %v", err)
	}
}

// generate draws terms that hang together.
func generate(t *rapid.T) terms.Terms {
	x := mainJob()
	if rapid.Bool().Draw(t, "one asset") {
		x = oneAsset()
	}
	expiry := rapid.Int64Range(2, terms.MaxExpiry).Draw(t, "expiry")
	for i := range x.Legs {
		x.Legs[i].Amount = cypherlink.Amount(rapid.Int64Range(1, math.MaxInt64).Draw(t, "amount"))
		x.Legs[i].Expiry = expiry - int64(i)
		x.Legs[i].Debit.Number = rapid.Uint32().Draw(t, "debit number")
		x.Legs[i].Credit.Number = rapid.Uint32().Draw(t, "credit number")
		x.Legs[i].Asset.Code = rapid.StringMatching(`[A-Z0-9./]{1,16}`).Draw(t, "code")
		x.Legs[i].Asset.Scale = rapid.Uint8Range(0, cypherlink.MaxScale).Draw(t, "scale")
	}
	copy(x.KYC[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "kyc"))
	return x
}

func TestEncodeAndDecodeAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := generate(t)
		y, err := terms.Decode(x.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(x, *y) || x.Hash() != y.Hash() {
			t.Fatalf("%+v became %+v", x, *y)
		}
	})
}

func FuzzDecode(f *testing.F) {
	cross, single := mainJob(), oneAsset()
	f.Add(cross.Encode())
	f.Add(single.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := terms.Decode(b)
		if err != nil {
			if !errors.Is(err, terms.ErrTerms) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if err := x.Valid(); err != nil {
			t.Fatalf("decoded terms are not valid: %v", err)
		}
		if !bytes.Equal(x.Encode(), b) {
			t.Fatalf("%x has another form %x", b, x.Encode())
		}
	})
}
