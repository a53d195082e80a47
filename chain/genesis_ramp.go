package chain

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

// checkBackings: an asset of the chain may be backed by one of an external ledger with the same
// scale, which backs no other.
func (g *Genesis) checkBackings() error {
	seen := map[cypherlink.Asset]bool{}
	for i := range g.file.Assets {
		a := &g.file.Assets[i]
		if !a.Backed() {
			continue
		}
		_, known := g.registry.Asset(a.Backing)
		switch {
		case g.ledgers[a.Asset.Ledger].Kind != OnChain:
			return fmt.Errorf("asset %s is not of the chain and has a backing", a.Asset)
		case !known || g.ledgers[a.Backing.Ledger].Kind != External:
			return fmt.Errorf("asset %s: backing %s, scale %d, is no asset of an external ledger",
				a.Asset, a.Backing, a.Backing.Scale)
		case seen[a.Backing]:
			return fmt.Errorf("asset %s: %s backs another one", a.Asset, a.Backing)
		}
		seen[a.Backing] = true
	}
	return nil
}

func (g *Genesis) backed(asset cypherlink.Asset) bool {
	a, _ := g.registry.Asset(asset)
	return a.Backed()
}

// backings are what crosses between the ledger and the chain, or between the chain and the others.
func (g *Genesis) backings(l *Ledger) map[cypherlink.Asset]ledger.Backing {
	all := map[cypherlink.Asset]ledger.Backing{}
	for i := range g.file.Assets {
		a := &g.file.Assets[i]
		switch {
		case !a.Backed():
		case a.Asset.Ledger == l.ID:
			operator := g.ledgers[a.Backing.Ledger].Operator
			all[a.Asset] = ledger.Backing{Other: a.Backing, Operator: operator}
		case a.Backing.Ledger == l.ID:
			all[a.Backing] = ledger.Backing{Other: a.Asset, Escrow: ledger.Escrow(l.Operator)}
		}
	}
	return all
}
