package chain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

func claim() cypherlink.Asset { return cypherlink.Asset{Ledger: "cypherium", Code: "EUR", Scale: 2} }

// backed is a network in which DE backs an asset of the chain.
func backed(t testing.TB) *chain.GenesisFile {
	t.Helper()
	f := network(t)
	f.Assets = append(f.Assets, chain.Asset{
		Asset: claim(), Label: "DE.C", Issuer: f.Ledgers[1].Operator, Policy: f.Assets[1].Policy, Backing: de(),
	})
	f.Openings = append(f.Openings, ledger.Balance{
		Account: cypherlink.Account{Owner: f.Participants[4].ID}, Asset: claim(),
	})
	return f
}

func TestGenesisBackings(t *testing.T) {
	f := backed(t)
	raw := encode(t, f)
	if !strings.Contains(string(raw), `"backing": {`) || strings.Count(string(raw), "backing") != 1 {
		t.Fatalf("%s", raw)
	}
	g, err := chain.ParseGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	operator := f.Ledgers[1].Operator
	for id, want := range map[cypherlink.LedgerID]map[cypherlink.Asset]ledger.Backing{
		"cypherium": {claim(): {Other: de(), Operator: operator}},
		"de":        {de(): {Other: claim(), Escrow: ledger.Escrow(operator)}},
	} {
		c, err := g.Charter(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Valid(); err != nil {
			t.Error(err)
		}
		for asset, b := range want {
			if c.Backings[asset] != b || len(c.Backings) != 1 {
				t.Errorf("%s: %+v, want %+v", id, c.Backings, want)
			}
		}
	}
	for i := range g.File().Assets {
		a := &g.File().Assets[i]
		var w wire.Writer
		a.AppendWire(&w)
		r := wire.NewReader(w.Bytes())
		got := chain.ReadAsset(r)
		if err := r.End(); err != nil || got.Backing != a.Backing || got.Backed() != (a.Asset == claim()) {
			t.Errorf("%s: backing %s became %s, %v", a.Asset, a.Backing, got.Backing, err)
		}
	}
}

func TestGenesisRefusesBackings(t *testing.T) {
	for name, edit := range map[string]func(f *chain.GenesisFile){
		"value at the beginning": func(f *chain.GenesisFile) { f.Openings[3].Amount = 1 },
		"an escrow account on the chain": func(f *chain.GenesisFile) {
			f.Openings[0].Account.Number = ledger.EscrowNumber
		},
		"an asset that does not exist": func(f *chain.GenesisFile) { f.Assets[2].Backing.Code = "USD" },
		"an asset of another scale": func(f *chain.GenesisFile) {
			f.Assets[2].Asset.Code, f.Assets[2].Asset.Scale, f.Assets[2].Backing.Scale = "GOLD", 3, 3
			f.Openings = f.Openings[:3]
		},
		"an asset of the chain": func(f *chain.GenesisFile) { f.Assets[2].Backing = dcep() },
		"itself":                func(f *chain.GenesisFile) { f.Assets[2].Backing = claim() },
		"an external asset's": func(f *chain.GenesisFile) {
			other := f.Assets[1]
			other.Asset.Code = "CHF"
			f.Assets = append(f.Assets, other)
			f.Assets[1].Backing, f.Assets[2].Backing = other.Asset, cypherlink.Asset{}
		},
		"a backing twice":            func(f *chain.GenesisFile) { f.Assets[0].Backing, f.Openings = de(), f.Openings[3:] },
		"a backing without a ledger": func(f *chain.GenesisFile) { f.Assets[2].Backing.Ledger = "" },
	} {
		f := backed(t)
		edit(f)
		raw, err := f.Encode()
		if err == nil {
			_, err = chain.ParseGenesis(raw)
		}
		if !errors.Is(err, chain.ErrGenesis) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
