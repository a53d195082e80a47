package connector

import (
	"maps"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/terms"
)

// A leg moves on its asset's ledger, unless both its accounts stand for what their owners have in channels: then at
// the own end of the channel, or where the connector's word is all that there is.
func TestVenues(t *testing.T) {
	w := ledgertest.NewWorld()
	onChain, lanes, witness := ledger.Ledger(&silent{number: 1}), ledger.Ledger(&silent{number: 2}), ledger.Ledger(&silent{number: 3})
	v := Venues{Ledgers: map[cypherlink.LedgerID]ledger.Ledger{w.Ledger: onChain}, Lanes: lanes, Witness: witness}
	leg := func(from, to ledgertest.Actor, debit, credit uint32) *terms.Leg {
		return &terms.Leg{
			Asset: w.Asset, Debit: cypherlink.Account{Owner: from.ID, Number: debit},
			Credit: cypherlink.Account{Owner: to.ID, Number: credit},
		}
	}
	const in = ledger.ChannelNumber
	for name, tt := range map[string]struct {
		leg  *terms.Leg
		want ledger.Ledger
	}{
		"on the chain":          {leg(w.Alice, w.Bob, 0, 0), onChain},
		"paid in a channel":     {leg(w.Alice, w.Bob, in, in), lanes},
		"paid into a channel":   {leg(w.Bob, w.Alice, in, in), lanes},
		"a channel of others":   {leg(w.Bob, w.Mallory, in, in), witness},
		"with one end in it":    {leg(w.Alice, w.Bob, in, 0), onChain},
		"with the other end so": {leg(w.Alice, w.Bob, 0, in), onChain},
	} {
		if got := v.Of(w.Alice.ID, tt.leg); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	elsewhere := leg(w.Alice, w.Bob, 0, 0)
	elsewhere.Asset.Ledger = "other"
	if got := v.Of(w.Alice.ID, elsewhere); got != nil {
		t.Error(got)
	}
	feeds := maps.Collect(v.Feeds())
	if len(feeds) != 2 || feeds[string(w.Ledger)] != onChain || feeds["/lanes"] != lanes {
		t.Error(feeds)
	}
}

// silent is a ledger of which nothing is asked.
type silent struct {
	ledger.Ledger
	number int
}
