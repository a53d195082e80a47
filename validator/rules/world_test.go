package rules_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
	"github.com/cypherlink/cypherlink/validator/rules"
)

const (
	now               = 1_800_000_000
	destinationExpiry = now + 20
	sourceExpiry      = now + 32
	validity          = 60
)

func party(name string) cypherlink.ParticipantID {
	return cypherlink.ParticipantID(wire.Sum("test/party", []byte(name)))
}

func bic(tb testing.TB, s string) cypherlink.BIC {
	tb.Helper()
	b, err := cypherlink.ParseBIC(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func euro() cypherlink.Asset { return cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2} }

func yuan() cypherlink.Asset { return cypherlink.Asset{Ledger: "cypherium", Code: "CNY", Scale: 2} }

// laptop is the KYC file of the main job.
func laptop(tb testing.TB, edit func(*kyc.Disclosure)) *kyc.File {
	tb.Helper()
	iban, err := cypherlink.ParseIBAN("DE89370400440532013000")
	if err != nil {
		tb.Fatal(err)
	}
	d := kyc.Disclosure{
		Debtor: kyc.Party{Name: "Müller & Söhne GmbH", Country: "DE", Account: kyc.Account{IBAN: iban}},
		Creditor: kyc.Party{
			Name: "Shenzhen Laptop Co", Country: "CN", Account: kyc.Account{Other: "6222021234567890128"},
		},
		Purpose: "GDDS", Reference: "E2E-0001",
	}
	if edit != nil {
		edit(&d)
	}
	seed := make([]byte, len(d.Salts)*len(kyc.Salt{}))
	for i := range seed {
		seed[i] = byte(i/len(kyc.Salt{})) + byte(i%7) + 1
	}
	if err := d.DrawSalts(bytes.NewReader(seed)); err != nil {
		tb.Fatal(err)
	}
	f, err := kyc.NewFile(&d, &kyc.Answer{Match: kyc.FullMatch, Salt: kyc.Salt{0xff}})
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// mainJob is the main job's terms over that file.
func mainJob(tb testing.TB, f *kyc.File) terms.Terms {
	tb.Helper()
	uetr, err := cypherlink.ParseUETR("eb6305c9-1f7f-49de-aed0-16487c27b42d")
	if err != nil {
		tb.Fatal(err)
	}
	alice, bob, clearing := party("alice"), party("bob"), party("clearing")
	return terms.Terms{
		Network: cypherlink.NetworkID{1}, UETR: uetr, Payer: alice, Payee: bob, Connector: clearing,
		Legs: []terms.Leg{
			{
				Asset: euro(), Amount: 1_001_00, Expiry: sourceExpiry,
				Debit: cypherlink.Account{Owner: alice}, Credit: cypherlink.Account{Owner: clearing},
			},
			{
				Asset: yuan(), Amount: 2_000_00, Expiry: destinationExpiry,
				Debit: cypherlink.Account{Owner: clearing}, Credit: cypherlink.Account{Owner: bob},
			},
		},
		Condition: cypherlink.Preimage{9}.Condition(), Quote: cypherlink.Hash{3}, KYC: f.Root(),
	}
}

var errUnproved = errors.New("not proved")

// agreements takes the terms' own bytes, after a word that stands for the signatures.
type agreements struct{}

func prove(t *terms.Terms) []byte { return append([]byte("agreed "), t.Encode()...) }

func (agreements) VerifyProof(proof []byte) (*terms.Terms, error) {
	b, ok := bytes.CutPrefix(proof, []byte("agreed "))
	if !ok {
		return nil, errUnproved
	}
	return terms.Decode(b)
}

type directory map[cypherlink.ParticipantID]cypherlink.BIC

func (d directory) BIC(id cypherlink.ParticipantID) (cypherlink.BIC, bool) {
	b, ok := d[id]
	return b, ok
}

func banks(tb testing.TB) directory {
	tb.Helper()
	return directory{
		party("alice"): bic(tb, "DEUTDEFF"), party("bob"): bic(tb, "BKCHCNBJ"),
		party("clearing"): bic(tb, "CHASDEFX"),
	}
}

func set(tb testing.TB, document []byte) *rules.Set {
	tb.Helper()
	s, err := rules.Compile(document)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// digitalEuro is compiled once: sets do not change.
var digitalEuro = sync.OnceValues(func() (*rules.Set, error) {
	document, _ := rules.DigitalEuro()
	return rules.Compile(document)
})

func euroSet(tb testing.TB) *rules.Set {
	tb.Helper()
	s, err := digitalEuro()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// write is a set of expressions, each rejecting with MS02.
func write(tb testing.TB, expressions ...string) *rules.Set {
	tb.Helper()
	d := rules.Document{Name: "test", Version: 1}
	for i, e := range expressions {
		d.Rules = append(d.Rules, rules.Rule{
			ID: "rule-" + string(rune('a'+i)), Description: "A rule.", Expression: e,
			Outcome: validator.Rejected, Reason: "MS02",
		})
	}
	return set(tb, encode(tb, &d))
}

func encode(tb testing.TB, d *rules.Document) []byte {
	tb.Helper()
	raw, err := d.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// identity is a Validator's key and its id.
func identity(tb testing.TB, seed byte) (*sign.Identity, cypherlink.ParticipantID) {
	tb.Helper()
	key, err := sign.GenerateIdentity(bytes.NewReader(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		tb.Fatal(err)
	}
	return key, cypherlink.NewParticipantID(key.Public())
}

func options(tb testing.TB) rules.Options {
	tb.Helper()
	_, self := identity(tb, 1)
	_, other := identity(tb, 2)
	s := euroSet(tb)
	list, err := kyc.NewList([]string{"Al Capone", "Kim Jong Un"})
	if err != nil {
		tb.Fatal(err)
	}
	return rules.Options{
		Network: cypherlink.NetworkID{1}, Self: self, Asset: euro(),
		Policy: validator.Policy{
			Threshold: 1, Validators: []cypherlink.ParticipantID{other, self}, RuleSet: s.Hash(),
		},
		Set: s, List: list, Validity: validity,
	}
}

func judge(tb testing.TB) *rules.Judge {
	tb.Helper()
	j, err := rules.NewJudge(options(tb), agreements{}, banks(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

// tell opens fields of a file.
func tell(tb testing.TB, f *kyc.File, fields ...kyc.Field) []kyc.Proof {
	tb.Helper()
	var proofs []kyc.Proof
	for _, field := range fields {
		p, err := f.Open(field)
		if err != nil {
			tb.Fatal(err)
		}
		proofs = append(proofs, p)
	}
	return proofs
}

// request is Bank A's, for the source leg, telling what the set needs.
func request(tb testing.TB, f *kyc.File) *rules.Request {
	tb.Helper()
	t := mainJob(tb, f)
	return &rules.Request{Terms: prove(&t), Leg: terms.Source, Told: tell(tb, f, euroSet(tb).Needs()...)}
}

// inputs is what the rules see of the main job's source leg.
func inputs(tb testing.TB) rules.Inputs {
	tb.Helper()
	in := rules.Inputs{
		Salt: [32]byte{1}, Leg: 0, Asset: euro(), Amount: 1_001_00,
		Debit: bic(tb, "DEUTDEFF"), Credit: bic(tb, "CHASDEFX"), ExpiresIn: 32,
		List: cypherlink.Hash{8}, DebtorScore: 488, CreditorScore: 512,
	}
	for f, text := range map[kyc.Field]string{
		kyc.DebtorName: "Müller & Söhne GmbH", kyc.DebtorAccount: "IBAN/DE89370400440532013000",
		kyc.DebtorCountry: "DE", kyc.CreditorName: "Shenzhen Laptop Co", kyc.CreditorCountry: "CN",
		kyc.Purpose: "GDDS", kyc.PayeeMatch: "MTCH",
	} {
		if err := in.Told.Set(f, text); err != nil {
			tb.Fatal(err)
		}
	}
	return in
}
