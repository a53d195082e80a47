package payment

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// The network of the main job: Bank A pays with DE, Bank B is paid in DC/EP, the clearing bank
// stands between. DE asks for one Validator, DC/EP for two of three.

func assetDE() cypherlink.Asset { return cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2} }

func assetDCEP() cypherlink.Asset {
	return cypherlink.Asset{Ledger: "cypherium", Code: "CNY", Scale: 2}
}

// player is a participant with its keys.
type player struct {
	chain.Participant
	identity *sign.Identity
	key      *sign.Key
}

// ID is the participant's.
func (a *player) id() cypherlink.ParticipantID { return a.ID }

// signer is an player as package connector asks for one.
type signer struct{ *player }

func (s signer) ID() cypherlink.ParticipantID { return s.id() }

func (s signer) Sign(f cosi.Frame) ([64]byte, error) { return s.identity.Sign(f) }

func newPlayer(tb testing.TB, name string, role chain.Role, bic string) *player {
	tb.Helper()
	random := rand.NewChaCha8(sha256.Sum256([]byte(name)))
	identity, err := sign.GenerateIdentity(random)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := sign.GenerateKey(random)
	if err != nil {
		tb.Fatal(err)
	}
	a := &player{identity: identity, key: key, Participant: chain.Participant{
		ID: cypherlink.NewParticipantID(identity.Public()), Name: name, Role: role,
		KeySet: chain.KeySet{
			Identity: identity.Public(), Key: key.Public(), Possession: key.Possession(),
			TLS: sha256.Sum256([]byte("tls " + name)),
		},
	}}
	if bic != "" {
		if a.BIC, err = cypherlink.ParseBIC(bic); err != nil {
			tb.Fatal(err)
		}
	}
	return a
}

// network is who there is, and what they know of each other.
type network struct {
	genesis        *chain.Genesis
	committee      *chaintest.Network
	a, b, clearing *player
	operator       *player
	validators     []*player // the first one is DE's
	authority      *player
	mallory        *player // another bank
	ruleSet        cypherlink.Hash
	requirements   *kyc.Requirements
	margins        connector.Margins
	addressOf      ilp.Address
	secretOfB      ilp.ServerSecret
	opening        []ledger.Balance
	price          connector.Price
}

const openingAmount = 1_000_000_00

// mainNetwork is made once and not changed.
var mainNetwork struct {
	sync.Once
	made *network
}

// newNetwork is the network; edit, unless nil, changes its genesis file before it is read.
func newNetwork(tb testing.TB, edit func(*chain.GenesisFile)) *network {
	tb.Helper()
	if edit == nil {
		mainNetwork.Do(func() { mainNetwork.made = makeNetwork(tb, func(*chain.GenesisFile) {}) })
		return mainNetwork.made
	}
	return makeNetwork(tb, edit)
}

func makeNetwork(tb testing.TB, edit func(*chain.GenesisFile)) *network {
	tb.Helper()
	n := &network{
		a:        newPlayer(tb, "Bank A", chain.RoleBank, "BNKADEFF"),
		b:        newPlayer(tb, "Bank B", chain.RoleBank, "BNKBCNBJ"),
		clearing: newPlayer(tb, "Clearing Bank", chain.RoleClearing, "CLRGLULL"),
		mallory:  newPlayer(tb, "Bank M", chain.RoleBank, "BNKMDEFF"),
		operator: newPlayer(tb, "Digital euro ledger", chain.RoleOperator, ""),
		ruleSet:  cypherlink.Hash{9}, addressOf: "private.cl.cypherium.bankb",
		secretOfB: ilp.ServerSecret(sha256.Sum256([]byte("secret of b"))),
		price:     connector.Price{Rate: cypherlink.Rate{Num: 2, Den: 1}, Fee: 100},
		margins: connector.Margins{
			Resend: time.Second, SourceHold: 32 * time.Second, DestinationHold: 20 * time.Second,
			MaxHold: time.Minute, RelayWindow: 12 * time.Second, AcceptWindow: 10 * time.Second,
			ConfirmWindow: 2 * time.Second, Restart: 5 * time.Second,
		},
	}
	list, err := kyc.NewList([]string{"Ivan the Terrible"})
	if err != nil {
		tb.Fatal(err)
	}
	n.requirements = &kyc.Requirements{
		Needed: []kyc.Field{kyc.DebtorName, kyc.DebtorAccount, kyc.CreditorName},
		List:   list, Hit: 900, Full: 950, Close: 800,
	}
	f := chain.GenesisFile{
		Scheme: "test", TimeMS: 900_000_000_000,
		Authorities: chain.Authorities{Threshold: 1},
		KeyBlock: chain.KeyBlock{
			Epoch: 1, Depth: 2, TermViews: 1, Topology: chain.Mesh, Leaders: chain.RoundRobin,
			IdleMS: 1000, MaxBaseMS: 500, MinExpiryS: 8,
		},
	}
	n.committee = n.addMembers(tb, &f)
	for i := range 4 {
		name := fmt.Sprint("Validator ", i)
		n.validators = append(n.validators, newPlayer(tb, name, chain.RoleValidator, ""))
	}
	everybody := append([]*player{n.a, n.b, n.clearing, n.mallory, n.operator}, n.validators...)
	n.authority = newPlayer(tb, "Authority", chain.RoleAuthority, "")
	everybody = append(everybody, n.authority)
	for _, a := range everybody {
		f.Participants = append(f.Participants, a.Participant)
	}
	policy := func(threshold int, of ...*player) validator.Policy {
		p := validator.Policy{Threshold: threshold, RuleSet: n.ruleSet}
		for _, a := range of {
			p.Validators = append(p.Validators, a.id())
		}
		return p
	}
	f.Ledgers = []chain.Ledger{
		{ID: "cypherium", Kind: chain.OnChain},
		{ID: "de", Kind: chain.External, Operator: n.operator.id(), MinExpiryS: 8},
	}
	f.Assets = []chain.Asset{
		{Asset: assetDCEP(), Label: "DC/EP", Issuer: n.operator.id(), Policy: policy(2, n.validators[1:]...)},
		{Asset: assetDE(), Label: "DE", Issuer: n.operator.id(), Policy: policy(1, n.validators[0])},
	}
	for _, a := range []*player{n.a, n.b, n.clearing} {
		for _, asset := range []cypherlink.Asset{assetDE(), assetDCEP()} {
			n.opening = append(n.opening, ledger.Balance{
				Account: cypherlink.Account{Owner: a.id()}, Asset: asset, Amount: openingAmount,
			})
		}
	}
	for _, o := range n.opening {
		if o.Asset.Ledger == "cypherium" {
			f.Openings = append(f.Openings, o)
		}
	}
	edit(&f)
	raw, err := f.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	if n.genesis, err = chain.ParseGenesis(raw); err != nil {
		tb.Fatal(err)
	}
	n.committee.Genesis = n.genesis
	if n.committee.Committee, err = state.Committee(n.genesis); err != nil {
		tb.Fatal(err)
	}
	return n
}

func (n *network) addMembers(tb testing.TB, f *chain.GenesisFile) *chaintest.Network {
	tb.Helper()
	c := &chaintest.Network{}
	var roster []cosi.Member
	for i := range chaintest.Members {
		m := newPlayer(tb, fmt.Sprint("Member ", i+1), chain.RoleMember, "")
		f.Participants = append(f.Participants, m.Participant)
		f.KeyBlock.Members = append(f.KeyBlock.Members, chain.Member{
			ID: m.id(), Key: m.Key, Possession: m.Possession, Identity: m.Identity, TLS: m.TLS,
		})
		roster = append(roster, cosi.Member{ID: m.id(), Key: m.Key})
		c.Identities, c.Keys = append(c.Identities, m.identity), append(c.Keys, m.key)
	}
	all, err := cosi.NewRoster(roster, cosi.All())
	if err != nil {
		tb.Fatal(err)
	}
	f.KeyBlock.Sum = all.Sum()
	return c
}

func (n *network) patience() Patience {
	return Patience{Negotiate: 10 * time.Second, Approve: 8 * time.Second, Resend: time.Second}
}

// bank is the profile of Bank A or B: each may pay and be paid.
func (n *network) bank(of *player) *Bank {
	b := &Bank{
		Genesis: n.genesis, ID: of.id(), Funding: assetDE(), Connector: n.clearing.id(),
		Requirements: n.requirements, Base: n.addressOf, Secret: n.secretOfB,
		Margins: n.margins, Patience: n.patience(),
		Dearest: map[cypherlink.Asset]connector.Price{
			assetDCEP(): {Rate: cypherlink.Rate{Num: 2, Den: 1}, Fee: 1_00},
		},
	}
	if of != n.b {
		b.Base = "private.cl.de.other"
		b.Secret = ilp.ServerSecret(sha256.Sum256([]byte(of.Name)))
	}
	return b
}

func (n *network) dealer() *Dealer {
	return &Dealer{
		Genesis: n.genesis, ID: n.clearing.id(), Margins: n.margins,
		Valid: 30 * time.Second, Slack: 2 * time.Second,
	}
}

// verdict is a Validator's on a leg, valid until the leg's expiry.
func (n *network) verdict(
	tb testing.TB, by *player, s validator.Subject, outcome validator.Outcome,
) *validator.Signed {
	tb.Helper()
	v := validator.Verdict{
		Subject: s, ValidUntil: s.Fields.Expiry, RuleSet: n.ruleSet, Inputs: cypherlink.Hash{7},
		Outcome: outcome,
	}
	if outcome != validator.Approved {
		v.Reason = "RR04"
	}
	signature, err := by.identity.Sign(v.Frame(n.genesis.Network()))
	if err != nil {
		tb.Fatal(err)
	}
	return &validator.Signed{Verdict: v, Validator: by.id(), Signature: signature}
}

// instruction is the main job's: 2,000.00 DC/EP.
func (n *network) instruction(tb testing.TB, i int) *Instruction {
	tb.Helper()
	uetr, err := cypherlink.NewUETR(rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, "uetr ", i))))
	if err != nil {
		tb.Fatal(err)
	}
	iban, err := cypherlink.ParseIBAN("DE89370400440532013000")
	if err != nil {
		tb.Fatal(err)
	}
	return &Instruction{
		UETR: uetr, EndToEndID: fmt.Sprint("E2E-", i), DebtorAgent: n.a.BIC, CreditorAgent: n.b.BIC,
		Debtor: kyc.Party{Name: "Müller GmbH", Account: kyc.Account{IBAN: iban}, Country: "DE"},
		Creditor: kyc.Party{
			Name: "北京电脑有限公司", Account: kyc.Account{Other: "6222021001098765432"},
		},
		Asset: "DC/EP", Amount: "2000.00", Remittance: "Laptop, invoice 4711",
	}
}

// instructionJSON is an instruction as a customer writes it.
func (n *network) json(i int) []byte {
	return fmt.Appendf(nil, `{
  "end_to_end_id": "E2E-%d",
  "debtor": {"name": "Müller GmbH", "iban": "DE89370400440532013000", "agent": "BNKADEFF", "country": "DE"},
  "creditor": {"name": "北京电脑有限公司", "account": "6222021001098765432", "agent": "BNKBCNBJXXX"},
  "destination": {"asset": "DC/EP", "amount": "2000.00"},
  "remittance": "Laptop, invoice 4711"
}`, i)
}
