package chain

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrGenesis means that bytes are not a genesis file, or that one contradicts itself.
var ErrGenesis = errors.New("chain: wrong genesis")

// GenesisFile is the content of a genesis file. Addresses are no part of it: they are
// configuration.
type GenesisFile struct {
	// Scheme names the network for people.
	Scheme string
	// TimeMS is the time of the block of height zero, in milliseconds since 1970 UTC.
	TimeMS int64
	// KeyBlock opens epoch 1. Its members are participants of role member, all of them.
	KeyBlock     KeyBlock
	Authorities  Authorities
	Participants []Participant
	Ledgers      []Ledger
	Assets       []Asset
	// Openings are the accounts on the chain with what they hold at the beginning. Only issuers' own
	// assets have any value there: that of a backed asset comes over the ramp.
	Openings []ledger.Balance
}

// Authorities says how the registry is changed: by so many participants of RoleAuthority.
type Authorities struct{ Threshold int }

// Genesis is a network as its genesis file defines it: checked, immutable, and safe for
// concurrent use.
type Genesis struct {
	file     GenesisFile
	raw      []byte
	network  cypherlink.NetworkID
	registry *Registry
	ledgers  map[cypherlink.LedgerID]*Ledger
}

// ParseGenesis reads a genesis file: exactly the bytes that GenesisFile.Encode writes, of a
// content that hangs together. Otherwise ErrGenesis. It verifies every proof of possession
// (0.7 ms each).
func ParseGenesis(raw []byte) (*Genesis, error) {
	file, err := decodeGenesis(raw)
	if err != nil {
		return nil, err
	}
	g := &Genesis{
		file: file, raw: slices.Clone(raw), network: cypherlink.NewNetworkID(raw),
		ledgers: make(map[cypherlink.LedgerID]*Ledger, len(file.Ledgers)),
	}
	g.registry = &Registry{
		network: g.network, threshold: file.Authorities.Threshold,
		records: make(map[cypherlink.ParticipantID]*Record, len(file.Participants)),
		assets:  make(map[cypherlink.Asset]Asset, len(file.Assets)),
	}
	checks := []func() error{
		g.addParticipants, g.addLedgers, g.addAssets, g.checkBackings, g.registry.settle,
		g.checkOpenings, g.checkCommittee, g.checkPossession,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrGenesis, err)
		}
	}
	return g, nil
}

// Network is the network's id, a hash of the file's bytes.
func (g *Genesis) Network() cypherlink.NetworkID { return g.network }

// Bytes is the file. The caller does not change it.
func (g *Genesis) Bytes() []byte { return g.raw }

// File is the content of the file. The caller does not change it.
func (g *Genesis) File() GenesisFile { return g.file }

// Registry is the one that the network begins with.
func (g *Genesis) Registry() *Registry { return g.registry }

// Participant finds a participant of genesis by id. The caller does not change it.
func (g *Genesis) Participant(id cypherlink.ParticipantID) (*Participant, bool) {
	rec, ok := g.registry.Participant(id)
	if !ok {
		return nil, false
	}
	return &rec.Participant, true
}

// ParticipantByBIC finds a bank or clearing bank of genesis. The caller does not change it.
func (g *Genesis) ParticipantByBIC(bic cypherlink.BIC) (*Participant, bool) {
	rec, ok := g.registry.ByBIC(bic)
	if !ok {
		return nil, false
	}
	return &rec.Participant, true
}

// Key implements validator.Keys over the participants of genesis.
func (g *Genesis) Key(id cypherlink.ParticipantID) (key [32]byte, ok bool) {
	rec, ok := g.registry.Participant(id)
	if !ok {
		return key, false
	}
	return rec.Identity, true
}

// Ledger finds a ledger by id. The caller does not change it.
func (g *Genesis) Ledger(id cypherlink.LedgerID) (*Ledger, bool) {
	l, ok := g.ledgers[id]
	return l, ok
}

// Chain is the id of the one ledger that the committee keeps.
func (g *Genesis) Chain() cypherlink.LedgerID {
	for _, l := range g.file.Ledgers {
		if l.Kind == OnChain {
			return l.ID
		}
	}
	return "" // ParseGenesis has seen one
}

// Charter is what the rules of that ledger rest on in the beginning, with a Verifier of its own
// that remembers. A ledger that is not of this network is ErrGenesis.
func (g *Genesis) Charter(id cypherlink.LedgerID) (*ledger.Charter, error) {
	l, ok := g.ledgers[id]
	if !ok {
		return nil, fmt.Errorf("ledger %.20q: %w", string(id), ErrGenesis)
	}
	c := &ledger.Charter{
		Network: g.network, Ledger: id, MinExpiry: int64(l.MinExpiryS), Keys: g,
		Verifier: cosi.Remembering(),
		Policies: make(map[cypherlink.Asset]validator.Policy),
	}
	maps.Copy(c.Policies, g.registry.Policies(id))
	if l.Kind == OnChain {
		c.MinExpiry = int64(g.file.KeyBlock.MinExpiryS)
	}
	c.Backings = g.backings(l)
	return c, nil
}

// Roster is these participants in their order, all of whom have to sign: the roster of terms.
// Whoever is not registered is ErrGenesis.
func (g *Genesis) Roster(ids ...cypherlink.ParticipantID) (*cosi.Roster, error) {
	members := make([]cosi.Member, len(ids))
	for i, id := range ids {
		p, ok := g.Participant(id)
		if !ok {
			return nil, fmt.Errorf("participant %s: %w", id, ErrGenesis)
		}
		members[i] = cosi.Member{ID: id, Key: p.Key}
	}
	return cosi.NewRoster(members, cosi.All())
}

// Header is the block of height zero, given the roots of the genesis state (chain/state
// computes them).
func (g *Genesis) Header(roots Roots) Header {
	return GenesisHeader(g.network, g.file.TimeMS, g.file.KeyBlock, roots)
}

// Committee is the committee of epoch 1, given the roots of the genesis state.
func (g *Genesis) Committee(roots Roots) (*Committee, error) {
	return NewCommittee(g.Header(roots), g.file.KeyBlock)
}

func (g *Genesis) addParticipants() error {
	if !printable(g.file.Scheme) || g.file.TimeMS <= 0 {
		return fmt.Errorf("scheme %.40q, time %d", g.file.Scheme, g.file.TimeMS)
	}
	for i := range g.file.Participants {
		rec := &Record{Participant: g.file.Participants[i], Status: ledger.Active}
		if err := g.registry.enter(rec); err != nil {
			return fmt.Errorf("participant %d: %w", i, err)
		}
	}
	return nil
}

func (g *Genesis) addLedgers() error {
	chains := 0
	for i := range g.file.Ledgers {
		l := &g.file.Ledgers[i]
		if err := l.ID.Valid(); err != nil {
			return err
		}
		if _, ok := g.ledgers[l.ID]; ok {
			return fmt.Errorf("ledger %s stands twice", l.ID)
		}
		operator, known := g.Participant(l.Operator)
		switch l.Kind {
		case OnChain:
			chains++
			if l.Operator != (cypherlink.ParticipantID{}) || l.MinExpiryS != 0 {
				return fmt.Errorf("ledger %s is the chain: its operator is the committee", l.ID)
			}
		case External:
			if !known || operator.Role != RoleOperator {
				return fmt.Errorf("ledger %s: %s is no operator", l.ID, l.Operator)
			}
		default:
			return fmt.Errorf("ledger %s: kind %.20q", l.ID, string(l.Kind))
		}
		g.ledgers[l.ID] = l
	}
	if chains != 1 {
		return fmt.Errorf("%d ledgers are the chain, one must be", chains)
	}
	return nil
}

func (g *Genesis) addAssets() error {
	type symbol struct {
		ledger cypherlink.LedgerID
		code   string
	}
	seen := map[symbol]bool{}
	for _, a := range g.file.Assets {
		if err := g.checkAsset(&a); err != nil {
			return fmt.Errorf("asset %s: %w", a.Asset, err)
		}
		s := symbol{a.Asset.Ledger, a.Asset.Code}
		if seen[s] {
			return fmt.Errorf("asset %s stands twice", a.Asset)
		}
		seen[s] = true
		g.registry.assets[a.Asset] = a
	}
	return nil
}

func (g *Genesis) checkAsset(a *Asset) error {
	if err := a.Asset.Valid(); err != nil {
		return err
	}
	if digits, ok := cypherlink.CurrencyDigits(a.Asset.Code); ok && digits != a.Asset.Scale {
		return fmt.Errorf("scale %d, ISO 4217 has %d", a.Asset.Scale, digits)
	}
	if _, ok := g.ledgers[a.Asset.Ledger]; !ok {
		return errors.New("the ledger is unknown")
	}
	if _, ok := g.Participant(a.Issuer); !ok || !printable(a.Label) {
		return fmt.Errorf("issuer %s, label %.40q", a.Issuer, a.Label)
	}
	return g.registry.checkPolicy(a.Policy)
}

func (g *Genesis) checkOpenings() error {
	type place struct {
		account cypherlink.Account
		asset   cypherlink.Asset
	}
	seen, totals := map[place]bool{}, map[cypherlink.Asset]cypherlink.Amount{}
	for _, o := range g.file.Openings {
		at := place{o.Account, o.Asset}
		_, owned := g.Participant(o.Account.Owner)
		_, known := g.registry.Policy(o.Asset)
		switch {
		case seen[at]:
			return fmt.Errorf("account %s in %s stands twice", o.Account, o.Asset)
		case !owned:
			return fmt.Errorf("account %s has no registered owner", o.Account)
		case !known || g.ledgers[o.Asset.Ledger].Kind != OnChain:
			return fmt.Errorf("account %s: %s is no asset of the chain", o.Account, o.Asset)
		case o.Amount > 0 && g.backed(o.Asset):
			return fmt.Errorf("account %s: %s enters over the ramp alone", o.Account, o.Asset)
		case o.Account.Number == ledger.EscrowNumber:
			return fmt.Errorf("account %s has the number of escrow accounts", o.Account)
		}
		seen[at] = true
		total, err := totals[o.Asset].Add(o.Amount)
		if err != nil {
			return fmt.Errorf("total of %s: %w", o.Asset, err)
		}
		totals[o.Asset] = total
	}
	return nil
}

// checkCommittee checks what does not follow from how the key block was put together.
func (g *Genesis) checkCommittee() error {
	for _, m := range g.file.KeyBlock.Members {
		if p, ok := g.Participant(m.ID); !ok || p.Role != RoleMember {
			return fmt.Errorf("%s is no member", m.ID)
		}
	}
	for _, p := range g.file.Participants {
		in := slices.ContainsFunc(g.file.KeyBlock.Members, func(m Member) bool { return m.ID == p.ID })
		if p.Role == RoleMember && !in {
			return fmt.Errorf("member %s is not in the committee", p.ID)
		}
	}
	_, err := g.file.KeyBlock.roster()
	return err
}

func (g *Genesis) checkPossession() error {
	for i, p := range g.file.Participants {
		if err := cosi.VerifyPossession(p.Key, p.Possession); err != nil {
			return fmt.Errorf("participant %d: %w", i, err)
		}
	}
	return nil
}
