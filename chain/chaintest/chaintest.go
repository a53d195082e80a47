// Package chaintest makes networks for tests.
//
// Its noun is the Network: the genesis of a ledgertest.World whose ledger is the chain, with
// the keys of its committee, which certifies whatever block a test asks it to. It refuses to
// run consensus (chain/bft) and to execute (chain/state). Only tests import it.
package chaintest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// Start is the time of the block of height zero, in milliseconds since 1970.
const Start = 1_800_000_000_000

// Members is the size of the committee.
const Members = 4

// Network is a network with the keys of its committee.
type Network struct {
	// World has the participants; its network and ledger are this one's.
	World     *ledgertest.World
	Genesis   *chain.Genesis
	Committee *chain.Committee
	// Identities and Keys are the members', in the order of the committee.
	Identities []*sign.Identity
	Keys       []*sign.Key
	// AuthorityKeys are the cosigning keys of the scheme's authorities, in no order; AuthorityQuorum
	// of them change the registry.
	AuthorityKeys []*sign.Key
}

// New makes the network of ledgertest.NewWorld; edit, unless nil, changes its genesis file
// before it is read. Two calls give the same network. Committee stays nil: SetRoots makes it.
func New(tb testing.TB, edit func(*chain.GenesisFile)) *Network {
	tb.Helper()
	w := ledgertest.NewWorld()
	n := &Network{World: w}
	file := chain.GenesisFile{
		Scheme: "test", TimeMS: Start,
		Authorities: chain.Authorities{Threshold: AuthorityQuorum},
		KeyBlock: chain.KeyBlock{
			Epoch: 1, Depth: 2, TermViews: 1, Topology: chain.Mesh, Leaders: chain.RoundRobin,
			IdleMS: 1000, MaxBaseMS: 500, MinExpiryS: uint32(w.MinExpiry), //nolint:gosec // eight
		},
		Ledgers:  []chain.Ledger{{ID: w.Ledger, Kind: chain.OnChain}},
		Openings: w.Balances(),
	}
	n.addMembers(tb, &file)
	for i, a := range []ledgertest.Actor{w.Alice, w.Bob, w.Mallory} {
		bic, err := cypherlink.ParseBIC("BANKDE" + string(rune('A'+i)) + "A")
		if err != nil {
			tb.Fatal(err)
		}
		p := participant(tb, a.Key, chain.RoleBank, fmt.Sprint("Bank ", i+1))
		p.BIC = bic
		file.Participants = append(file.Participants, p)
	}
	operator := participant(tb, w.Operator.Key, chain.RoleOperator, "Operator")
	file.Participants = append(file.Participants, operator)
	for i, a := range w.Validators {
		p := participant(tb, a.Key, chain.RoleValidator, fmt.Sprint("Validator ", i+1))
		file.Participants = append(file.Participants, p)
	}
	n.addAuthorities(tb, &file)
	charter := w.Charter()
	for _, asset := range charter.Assets() {
		policy := charter.Policies[asset]
		if len(policy.Validators) == 0 {
			policy.RuleSet = cypherlink.Hash{}
		}
		file.Assets = append(file.Assets, chain.Asset{
			Asset: asset, Label: asset.Code, Issuer: w.Operator.ID, Policy: policy,
		})
	}
	if edit != nil {
		edit(&file)
	}
	raw, err := file.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	if n.Genesis, err = chain.ParseGenesis(raw); err != nil {
		tb.Fatal(err)
	}
	w.Network = n.Genesis.Network()
	return n
}

// SetRoots makes the committee, given the roots of the genesis state.
func (n *Network) SetRoots(tb testing.TB, roots chain.Roots) {
	tb.Helper()
	c, err := n.Genesis.Committee(roots)
	if err != nil {
		tb.Fatal(err)
	}
	n.Committee = c
}

func (n *Network) addMembers(tb testing.TB, file *chain.GenesisFile) {
	tb.Helper()
	var roster []cosi.Member
	for i := range Members {
		random := rand.NewChaCha8([32]byte{byte(i)})
		identity, err := sign.GenerateIdentity(random)
		if err != nil {
			tb.Fatal(err)
		}
		key, err := sign.GenerateKey(random)
		if err != nil {
			tb.Fatal(err)
		}
		p := withKey(identity.Public(), key, chain.RoleMember, fmt.Sprint("Member ", i+1))
		file.Participants = append(file.Participants, p)
		file.KeyBlock.Members = append(file.KeyBlock.Members, chain.Member{
			ID: p.ID, Key: p.Key, Possession: p.Possession, Identity: p.Identity, TLS: p.TLS,
		})
		roster = append(roster, cosi.Member{ID: p.ID, Key: p.Key})
		n.Identities, n.Keys = append(n.Identities, identity), append(n.Keys, key)
	}
	all, err := cosi.NewRoster(roster, cosi.All())
	if err != nil {
		tb.Fatal(err)
	}
	file.KeyBlock.Sum = all.Sum()
}

// participant is a participant with that identity key and a cosigning key of its own.
func participant(tb testing.TB, identity [32]byte, role chain.Role, name string) chain.Participant {
	tb.Helper()
	p, _ := enrol(tb, identity, role, name)
	return p
}

// enrol is participant, and the cosigning key.
func enrol(
	tb testing.TB, identity [32]byte, role chain.Role, name string,
) (chain.Participant, *sign.Key) {
	tb.Helper()
	key, err := sign.GenerateKey(rand.NewChaCha8(identity))
	if err != nil {
		tb.Fatal(err)
	}
	return withKey(identity, key, role, name), key
}

func withKey(identity [32]byte, key *sign.Key, role chain.Role, name string) chain.Participant {
	return chain.Participant{
		ID: cypherlink.NewParticipantID(identity), Name: name, Role: role, KeySet: chain.KeySet{
			Identity: identity, Key: key.Public(), Possession: key.Possession(),
			TLS: sha256.Sum256(identity[:]),
		},
	}
}

// Block is the block of the view after qc's on its tuple, at that time, with that content.
func (n *Network) Block(qc chain.QC, timeMS int64, payload chain.Payload, roots chain.Roots) chain.Block {
	view := qc.Tuple.View + 1
	c := n.Committee
	return chain.Block{
		Votes: qc.Votes, Payload: payload,
		Header: chain.Header{
			Network: c.Network(), Epoch: c.Epoch(), Committee: c.Roster().Root(),
			View: view, Height: qc.Tuple.Height + 1, TimeMS: timeMS, Parent: qc.Tuple,
			PayloadRoot: payload.Root(), Roots: roots,
			PayloadCount: uint32(len(payload)), //nolint:gosec // few
			Proposer:     c.Roster().Member(c.Leader(view)).ID,
		},
	}
}

// Certify is the committee's QC on a block, by a quorum of the members.
func (n *Network) Certify(tb testing.TB, h chain.Header) chain.QC {
	tb.Helper()
	votes := map[int]cosi.Signature{}
	frame := n.Committee.VoteFrame(h.Tuple())
	for i := range n.Committee.Quorum() {
		vote, err := n.Keys[i].SignRecorded(frame)
		if err != nil {
			tb.Fatal(err)
		}
		votes[i] = vote
	}
	qc, _, err := n.Committee.AggregateVotes(h.Tuple(), votes)
	if err != nil {
		tb.Fatal(err)
	}
	return qc
}

// NewRamp is New with an external ledger beside the chain, whose asset CHF, without a Validator,
// backs one of the chain.
func NewRamp(tb testing.TB) (*Network, *ledgertest.Ramp) {
	tb.Helper()
	backing := cypherlink.Asset{Ledger: "rtgs", Code: "CHF", Scale: 2}
	var claim cypherlink.Asset
	n := New(tb, func(f *chain.GenesisFile) {
		operator := f.Assets[0].Issuer
		claim = cypherlink.Asset{Ledger: f.Ledgers[0].ID, Code: "CHF", Scale: 2}
		f.Ledgers = append(f.Ledgers,
			chain.Ledger{ID: backing.Ledger, Kind: chain.External, Operator: operator})
		f.Assets = append(f.Assets,
			chain.Asset{Asset: backing, Label: "CHF", Issuer: operator},
			chain.Asset{Asset: claim, Label: "CHF.C", Issuer: operator, Backing: backing})
	})
	return n, &ledgertest.Ramp{World: n.World, Backing: backing, Claim: claim}
}
