package chain_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// registrant makes participants with keys from a seed.
func registrant(t testing.TB, n byte, role chain.Role) chain.Participant {
	t.Helper()
	random := rand.NewChaCha8([32]byte{n})
	identity, err := sign.GenerateIdentity(random)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.GenerateKey(random)
	if err != nil {
		t.Fatal(err)
	}
	p := chain.Participant{
		ID: cypherlink.NewParticipantID(identity.Public()), Name: fmt.Sprint(role, " ", n), Role: role,
		KeySet: chain.KeySet{
			Identity: identity.Public(), Key: key.Public(), Possession: key.Possession(),
			TLS: cypherlink.Hash{n},
		},
	}
	if role == chain.RoleBank || role == chain.RoleClearing {
		bic, err := cypherlink.ParseBIC("BANKDE" + string('A'+rune(n%26)) + "A")
		if err != nil {
			t.Fatal(err)
		}
		p.BIC = bic
	}
	return p
}

func dcep() cypherlink.Asset { return cypherlink.Asset{Ledger: "cypherium", Code: "CNY", Scale: 2} }
func de() cypherlink.Asset   { return cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2} }

// network is a genesis with four members, two banks, a clearing bank, a Validator, an operator
// and an authority.
func network(t testing.TB) *chain.GenesisFile {
	t.Helper()
	f := &chain.GenesisFile{
		Scheme: "test", TimeMS: 1_700_000_000_000,
		Authorities: chain.Authorities{Threshold: 1},
		KeyBlock: chain.KeyBlock{
			Epoch: 1, Depth: 2, TermViews: 1, Topology: chain.Mesh, Leaders: chain.RoundRobin,
			IdleMS: 1000, MaxBaseMS: 500, MinExpiryS: 8,
		},
	}
	roles := []chain.Role{
		chain.RoleMember, chain.RoleMember, chain.RoleMember, chain.RoleMember, chain.RoleBank,
		chain.RoleBank, chain.RoleClearing, chain.RoleValidator, chain.RoleOperator, chain.RoleAuthority,
	}
	var roster []cosi.Member
	for i, role := range roles {
		p := registrant(t, byte(i+1), role)
		f.Participants = append(f.Participants, p)
		if role == chain.RoleMember {
			roster = append(roster, cosi.Member{ID: p.ID, Key: p.Key})
			f.KeyBlock.Members = append(f.KeyBlock.Members, chain.Member{
				ID: p.ID, Key: p.Key, Possession: p.Possession, Identity: p.Identity, TLS: p.TLS,
			})
		}
	}
	all, err := cosi.NewRoster(roster, cosi.All())
	if err != nil {
		t.Fatal(err)
	}
	f.KeyBlock.Sum = all.Sum()
	policy := validator.Policy{Threshold: 1, RuleSet: cypherlink.Hash{9}}
	policy.Validators = []cypherlink.ParticipantID{f.Participants[7].ID}
	operator := f.Participants[8].ID
	f.Ledgers = []chain.Ledger{
		{ID: "cypherium", Kind: chain.OnChain},
		{ID: "de", Kind: chain.External, Operator: operator, MinExpiryS: 10},
	}
	f.Assets = []chain.Asset{
		{Asset: dcep(), Label: "DC/EP", Issuer: operator, Policy: policy},
		{Asset: de(), Label: "DE", Issuer: operator, Policy: policy},
	}
	for i := 4; i < 7; i++ {
		f.Openings = append(f.Openings, ledger.Balance{
			Account: cypherlink.Account{Owner: f.Participants[i].ID}, Asset: dcep(), Amount: 1_000_000,
		})
	}
	return f
}

func encode(t testing.TB, f *chain.GenesisFile) []byte {
	t.Helper()
	raw, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestARegulatorIsRegistered(t *testing.T) {
	f := network(t)
	regulator := registrant(t, 77, chain.RoleRegulator)
	f.Participants = append(f.Participants, regulator)
	g, err := chain.ParseGenesis(encode(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := g.Participant(regulator.ID); !ok || p.Role != chain.RoleRegulator {
		t.Fatalf("%+v", p)
	}
}

func TestGenesis(t *testing.T) {
	f := network(t)
	raw := encode(t, f)
	g, err := chain.ParseGenesis(raw)
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	if g.Network() != cypherlink.NewNetworkID(raw) || !bytes.Equal(g.Bytes(), raw) ||
		g.Chain() != "cypherium" {
		t.Fatal("the genesis does not say what its file does")
	}
	bank := f.Participants[4]
	if p, ok := g.ParticipantByBIC(bank.BIC); !ok || p.ID != bank.ID {
		t.Fatal("a bank is not found by its BIC")
	}
	if _, ok := g.ParticipantByBIC(cypherlink.BIC{}); ok {
		t.Fatal("somebody has no BIC and is found by it")
	}
	if key, ok := g.Key(bank.ID); !ok || key != bank.Identity {
		t.Fatal("the registry does not know a bank's key")
	}
	if _, ok := g.Key(cypherlink.ParticipantID{1}); ok {
		t.Fatal("the registry knows a stranger")
	}
	c, err := g.Committee(chain.Roots{})
	if err != nil || c.Roster().Len() != 4 || c.Quorum() != 3 || c.Network() != g.Network() {
		t.Fatalf("committee: %v", err)
	}
}

func TestGenesisCharters(t *testing.T) {
	f := network(t)
	g, err := chain.ParseGenesis(encode(t, f))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[cypherlink.LedgerID]struct {
		minimum int64
		asset   cypherlink.Asset
	}{"cypherium": {8, dcep()}, "de": {10, de()}} {
		c, err := g.Charter(id)
		if err != nil || c.MinExpiry != want.minimum || len(c.Policies) != 1 || c.Network != g.Network() {
			t.Fatalf("%s: %+v, %v", id, c, err)
		}
		if p, ok := c.Policies[want.asset]; !ok || p.Threshold != 1 {
			t.Fatalf("%s: %+v", id, c.Policies)
		}
		if l, ok := g.Ledger(id); !ok || l.ID != id {
			t.Fatalf("%s is not found", id)
		}
	}
	if _, err := g.Charter("other"); !errors.Is(err, chain.ErrGenesis) {
		t.Fatal(err)
	}
}

func TestGenesisRosterAsksForAll(t *testing.T) {
	f := network(t)
	g, err := chain.ParseGenesis(encode(t, f))
	if err != nil {
		t.Fatal(err)
	}
	a, b := f.Participants[4].ID, f.Participants[5].ID
	r, err := g.Roster(a, b)
	if err != nil || r.Len() != 2 || r.Satisfied([]int{0, 1}) != nil || r.Satisfied([]int{0}) == nil {
		t.Fatalf("roster: %v", err)
	}
	if _, err := g.Roster(a, cypherlink.ParticipantID{1}); !errors.Is(err, chain.ErrGenesis) {
		t.Fatal(err)
	}
}

func TestGenesisRefuses(t *testing.T) {
	other := registrant(t, 77, chain.RoleBank)
	tests := []struct {
		name string
		edit func(f *chain.GenesisFile)
	}{
		{"no scheme", func(f *chain.GenesisFile) { f.Scheme = "" }},
		{"a scheme with a line feed", func(f *chain.GenesisFile) { f.Scheme = "a\nb" }},
		{"a time before 1970", func(f *chain.GenesisFile) { f.TimeMS = -1 }},
		{"a participant without a name", func(f *chain.GenesisFile) { f.Participants[4].Name = "" }},
		{"a name with a space at its end", func(f *chain.GenesisFile) { f.Participants[4].Name = "x " }},
		{"a name of 65 bytes", func(f *chain.GenesisFile) {
			f.Participants[4].Name = strings.Repeat("x", 65)
		}},
		{"an unknown role", func(f *chain.GenesisFile) { f.Participants[4].Role = "king" }},
		{"an id that is not the key's", func(f *chain.GenesisFile) { f.Participants[7].Identity[0] ^= 1 }},
		{"a bank without a BIC", func(f *chain.GenesisFile) { f.Participants[4].BIC = cypherlink.BIC{} }},
		{"a validator with a BIC", func(f *chain.GenesisFile) { f.Participants[7].BIC = other.BIC }},
		{"a regulator with a BIC", func(f *chain.GenesisFile) {
			regulator := registrant(t, 77, chain.RoleRegulator)
			regulator.BIC = other.BIC
			f.Participants = append(f.Participants, regulator)
		}},
		{"two banks of one BIC", func(f *chain.GenesisFile) {
			f.Participants[5].BIC = f.Participants[4].BIC
		}},
		{"one TLS key twice", func(f *chain.GenesisFile) { f.Participants[5].TLS = f.Participants[4].TLS }},
		{"no TLS key", func(f *chain.GenesisFile) { f.Participants[5].TLS = cypherlink.Hash{} }},
		{"one cosigning key twice", func(f *chain.GenesisFile) {
			f.Participants[5].Key = f.Participants[4].Key
			f.Participants[5].Possession = f.Participants[4].Possession
		}},
		{"another's proof of possession", func(f *chain.GenesisFile) {
			f.Participants[5].Possession = f.Participants[4].Possession
		}},
		{"a participant twice", func(f *chain.GenesisFile) {
			f.Participants = append(f.Participants, f.Participants[4])
		}},
		{"no authority", func(f *chain.GenesisFile) { f.Participants = f.Participants[:9] }},
		{"fewer authorities than a change takes", func(f *chain.GenesisFile) { f.Authorities.Threshold = 2 }},
		{"changes that take nobody", func(f *chain.GenesisFile) { f.Authorities.Threshold = 0 }},
		{"a regulator with a BIC", func(f *chain.GenesisFile) {
			p := registrant(t, 79, chain.RoleRegulator)
			p.BIC = other.BIC
			f.Participants = append(f.Participants, p)
		}},
		{"an authority with a BIC", func(f *chain.GenesisFile) { f.Participants[9].BIC = other.BIC }},
		{"a cosigning key and its negation", func(f *chain.GenesisFile) {
			f.Participants[4].Key, f.Participants[4].Possession = scalarKey(t, 5)
			f.Participants[5].Key, f.Participants[5].Possession = scalarKey(t, -5)
		}},
		{"a member outside the committee", func(f *chain.GenesisFile) {
			f.Participants = append(f.Participants, registrant(t, 78, chain.RoleMember))
		}},
		{"a bank in the committee", func(f *chain.GenesisFile) {
			f.Participants[0].Role, f.Participants[0].BIC = chain.RoleBank, other.BIC
		}},
		{"three members", func(f *chain.GenesisFile) { f.KeyBlock.Members = f.KeyBlock.Members[:3] }},
		{"an expiry that a faulty leader outlasts", func(f *chain.GenesisFile) { f.KeyBlock.MinExpiryS = 7 }},
		{"no ledger is the chain", func(f *chain.GenesisFile) { f.Ledgers = f.Ledgers[1:] }},
		{"two ledgers are the chain", func(f *chain.GenesisFile) {
			f.Ledgers = append(f.Ledgers, chain.Ledger{ID: "other", Kind: chain.OnChain})
		}},
		{"a ledger twice", func(f *chain.GenesisFile) { f.Ledgers = append(f.Ledgers, f.Ledgers[1]) }},
		{"a malformed ledger id", func(f *chain.GenesisFile) { f.Ledgers[1].ID = "DE" }},
		{"a ledger of no kind", func(f *chain.GenesisFile) { f.Ledgers[1].Kind = "" }},
		{"a ledger without an operator", func(f *chain.GenesisFile) {
			f.Ledgers[1].Operator = cypherlink.ParticipantID{}
		}},
		{"a ledger that a bank operates", func(f *chain.GenesisFile) {
			f.Ledgers[1].Operator = f.Participants[4].ID
		}},
		{"a chain with an operator", func(f *chain.GenesisFile) {
			f.Ledgers[0].Operator = f.Participants[8].ID
		}},
		{"a chain with an expiry beside the key block's", func(f *chain.GenesisFile) {
			f.Ledgers[0].MinExpiryS = 8
		}},
		{"an asset on an unknown ledger", func(f *chain.GenesisFile) { f.Assets[1].Asset.Ledger = "xx" }},
		{"an asset twice", func(f *chain.GenesisFile) { f.Assets = append(f.Assets, f.Assets[1]) }},
		{"one code in two scales", func(f *chain.GenesisFile) {
			f.Assets[0].Asset.Code, f.Assets[0].Asset.Scale, f.Openings = "GOLD", 3, nil
			again := f.Assets[0]
			again.Asset.Scale = 4
			f.Assets = append(f.Assets, again)
		}},
		{"another scale than ISO 4217 has", func(f *chain.GenesisFile) { f.Assets[1].Asset.Scale = 3 }},
		{"an asset without a label", func(f *chain.GenesisFile) { f.Assets[1].Label = "" }},
		{"an unknown issuer", func(f *chain.GenesisFile) { f.Assets[1].Issuer = other.ID }},
		{"a policy of 2 of 1", func(f *chain.GenesisFile) { f.Assets[1].Policy.Threshold = 2 }},
		{"a policy of 0 of 1", func(f *chain.GenesisFile) { f.Assets[1].Policy.Threshold = 0 }},
		{"a policy that names a bank", func(f *chain.GenesisFile) {
			f.Assets[1].Policy.Validators = []cypherlink.ParticipantID{f.Participants[4].ID}
		}},
		{"a policy without a rule set", func(f *chain.GenesisFile) {
			f.Assets[1].Policy.RuleSet = cypherlink.Hash{}
		}},
		{"an account twice", func(f *chain.GenesisFile) { f.Openings = append(f.Openings, f.Openings[0]) }},
		{"an account of a stranger", func(f *chain.GenesisFile) { f.Openings[0].Account.Owner = other.ID }},
		{"an account on an external ledger", func(f *chain.GenesisFile) { f.Openings[0].Asset = de() }},
		{"a total above 2^63-1", func(f *chain.GenesisFile) { f.Openings[0].Amount = math.MaxInt64 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := network(t)
			tt.edit(f)
			raw, err := f.Encode()
			if err == nil {
				_, err = chain.ParseGenesis(raw)
			}
			if !errors.Is(err, chain.ErrGenesis) {
				t.Fatalf("accepted: %v", err)
			}
		})
	}
}

func TestGenesisHasOneForm(t *testing.T) {
	raw := encode(t, network(t))
	edit := func(old, replacement string) []byte {
		if !bytes.Contains(raw, []byte(old)) {
			t.Fatalf("no %q in the file", old)
		}
		return bytes.Replace(raw, []byte(old), []byte(replacement), 1)
	}
	tests := []struct {
		name string
		raw  []byte
	}{
		{"no bytes", nil},
		{"no JSON", []byte("genesis\n")},
		{"another format", edit("genesis-v1", "genesis-v2")},
		{"a byte after the end", append(slices.Clone(raw), ' ')},
		{"a second value after the end", append(slices.Clone(raw), "{}\n"...)},
		{"no line feed at the end", raw[:len(raw)-1]},
		{"another space", edit(": ", ":  ")},
		{"an unknown field", edit(`"scheme"`, `"colour": "red", "scheme"`)},
		{"a key twice", edit(`"scheme": "test"`, `"scheme": "other", "scheme": "test"`)},
		{"a key in other case", edit(`"scheme"`, `"Scheme"`)},
		{"another order", edit(
			"\"scheme\": \"test\",\n  \"time_ms\": 1700000000000",
			"\"time_ms\": 1700000000000,\n  \"scheme\": \"test\"",
		)},
		{"an escape", edit(`"test"`, `"\u0074est"`)},
		{"a number with an exponent", edit(`"depth": 2`, `"depth": 2e0`)},
		{"a balance without its digits", edit(`"10000.00"`, `"10000"`)},
		{"a balance with a leading zero", edit(`"10000.00"`, `"010000.00"`)},
		{"a negative balance", edit(`"10000.00"`, `"-10000.00"`)},
		{"an opening in no asset", edit(`"code": "CNY",
      "balance"`, `"code": "XXX",
      "balance"`)},
		{"a null for a list", edit(`"validators": [`, `"validators": null, "x": [`)},
		{"a proof cut short", edit(`"possession": "`, `"possession": "" , "x": "`)},
		{"another topology", edit(`"mesh"`, `"ring"`)},
		{"another leader policy", edit(`"round-robin"`, `"lottery"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := chain.ParseGenesis(tt.raw); !errors.Is(err, chain.ErrGenesis) {
				t.Fatalf("accepted: %v", err)
			}
		})
	}
}

// Whoever changes a byte of the file gets another network, or none.
func TestEveryByteOfTheGenesisCounts(t *testing.T) {
	raw := encode(t, network(t))
	step := 7
	if testing.Short() {
		step = 97
	}
	for at := 0; at < len(raw); at += step {
		bad := slices.Clone(raw)
		bad[at] ^= 1
		if g, err := chain.ParseGenesis(bad); err == nil && g.Network() == cypherlink.NewNetworkID(raw) {
			t.Fatalf("byte %d does not count", at)
		} else if err != nil && !errors.Is(err, chain.ErrGenesis) {
			t.Fatal(err)
		}
	}
}

func FuzzParseGenesis(f *testing.F) {
	f.Add(encode(f, network(f)))
	f.Add([]byte(`{"format":"cypherlink-genesis-v1"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		g, err := chain.ParseGenesis(raw)
		if err != nil {
			return
		}
		file := g.File()
		if again, err := file.Encode(); err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("encodes as %s: %v", again, err)
		}
	})
}
