package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// The local network plays the main job of the whitepaper: Bank A pays from the digital euro
// ledger, Bank B is paid on the Cypherium ledger, the clearing bank stands between.

// actor is one institution of the local network.
type actor struct {
	// folder holds its keys and configuration; it is also how the demonstration calls it.
	folder string
	name   string
	role   chain.Role
	bic    string
}

// The folders of the cast.
const (
	folderA         = "bank-a"
	folderB         = "bank-b"
	folderClearing  = "clearing"
	folderLedger    = "ledger-de"
	folderVoteDE    = "validator-de"
	folderVoteDCEP  = "validator-dcep"
	folderIssuer    = "issuer-dcep"
	folderAuthority = "authority"
	folderRegulator = "regulator"
	folderTap       = "tap"     // of the regulator
	folderMember    = "member-" // and 1 to members
	members         = 4
	ledgerDE        = "de"
	ledgerCypherium = "cypherium"
	labelDE         = "DE"
	labelDCEP       = "DC/EP"
	labelClaim      = "DE.C"
)

// bank is a bank of a local network beside the whitepaper's two, for measurements: it has channels and a
// treasury, and pays nothing across ledgers.
type bank struct {
	actor
	address string // its ILP address
}

// folderBank and a letter is the folder of a bank.
const folderBank = "bank-"

// furtherBanks are so many banks that follow Bank A and Bank B, at most eight.
func furtherBanks(n int) []bank {
	var all []bank
	for _, letter := range "cdefghij"[:n] {
		upper := string(letter - 'a' + 'A')
		all = append(all, bank{
			actor{folderBank + string(letter), "Bank " + upper, chain.RoleBank, "CYP" + upper + "DEFF"},
			"private.cl.cypherium.cyp" + string(letter) + "deff",
		})
	}
	return all
}

func actorA() actor { return actor{folderA, "Bank A", chain.RoleBank, "CYPADEFF"} }

func actorB() actor { return actor{folderB, "Bank B", chain.RoleBank, "CYPBCNBJ"} }

// cast is everybody on the local network, with the banks that it has beside the whitepaper's.
func cast(further ...bank) []actor {
	all := []actor{
		actorA(), actorB(),
		{folderClearing, "Clearing Bank", chain.RoleClearing, "CYPCLULL"},
		{folderLedger, "Digital euro ledger", chain.RoleOperator, ""},
		{folderIssuer, "Issuer of DC/EP", chain.RoleOperator, ""},
		{folderAuthority, "Authority of the scheme", chain.RoleAuthority, ""},
		{folderVoteDE, "Validator of DE", chain.RoleValidator, ""},
		{folderVoteDCEP, "Validator of DC/EP", chain.RoleValidator, ""},
		{folderRegulator, "Regulator", chain.RoleRegulator, ""},
	}
	for i := 1; i <= members; i++ {
		all = append(all, actor{fmt.Sprint(folderMember, i), fmt.Sprint("Member ", i), chain.RoleMember, ""})
	}
	for _, b := range further {
		all = append(all, b.actor)
	}
	return all
}

func assetDE() cypherlink.Asset {
	return cypherlink.Asset{Ledger: ledgerDE, Code: "EUR", Scale: 2}
}

func assetDCEP() cypherlink.Asset {
	return cypherlink.Asset{Ledger: ledgerCypherium, Code: "CNY", Scale: 2}
}

// assetClaim is DE on the chain: what lies in escrow on its ledger backs it.
func assetClaim() cypherlink.Asset {
	return cypherlink.Asset{Ledger: ledgerCypherium, Code: "EUR", Scale: 2}
}

// The opening balances, in minor units.
const (
	openingADE          = 1_000_000_000 // 10,000,000.00 DE
	openingBDE          = 100_000_000   // 1,000,000.00 DE
	openingClearingDE   = 100_000_000   // 1,000,000.00 DE
	openingClearingDCEP = 5_000_000_000 // 50,000,000.00 DC/EP
)

// The times of the local network, as the README explains them.
const (
	idleMS          = 1000
	maxBaseMS       = 500
	minExpiryS      = 8
	sourceHold      = 33 * time.Second
	destinationHold = 20 * time.Second
)

// localMargins are those of the local network: the holds leave the relay thirteen seconds, and
// whoever is paid in a channel confirms before its margins (localChannels).
func localMargins() marginConfig {
	quick := timingConfig{
		Inclusion: jsonDuration(2 * time.Second), Answer: jsonDuration(time.Second),
		Skew: jsonDuration(500 * time.Millisecond),
	}
	return marginConfig{
		Resend: jsonDuration(time.Second), SourceHold: jsonDuration(sourceHold),
		DestinationHold: jsonDuration(destinationHold), MaxHold: jsonDuration(time.Minute),
		RelayWindow:   jsonDuration(13 * time.Second),
		AcceptWindow:  jsonDuration(10500 * time.Millisecond),
		ConfirmWindow: jsonDuration(5 * time.Second),
		Restart:       jsonDuration(5 * time.Second),
		Measured: map[cypherlink.LedgerID]timingConfig{
			ledgerDE: quick, ledgerCypherium: quick,
		},
	}
}

// newActor makes the keys of one institution in its folder, and its entry in genesis.
func newActor(dir string, a actor) (chain.Participant, error) {
	var none chain.Participant
	folder := filepath.Join(dir, a.folder)
	if err := os.MkdirAll(folder, dirMode); err != nil {
		return none, err
	}
	identity, err := sign.GenerateIdentity(rand.Reader)
	if err != nil {
		return none, err
	}
	key, err := sign.GenerateKey(rand.Reader)
	if err != nil {
		return none, err
	}
	tls, err := peer.NewIdentity()
	if err != nil {
		return none, err
	}
	if err := sign.SaveIdentity(filepath.Join(folder, "identity.key"), identity); err != nil {
		return none, err
	}
	if err := sign.SaveKey(filepath.Join(folder, "cosigning.key"), key); err != nil {
		return none, err
	}
	if err := tls.Save(filepath.Join(folder, "tls.pem"), filepath.Join(folder, "tls.key")); err != nil {
		return none, err
	}
	p := chain.Participant{
		ID: cypherlink.NewParticipantID(identity.Public()), Name: a.name, Role: a.role,
		KeySet: chain.KeySet{
			Identity: identity.Public(), Key: key.Public(), Possession: key.Possession(),
			TLS: cypherlink.Hash(tls.SPKI()),
		},
	}
	if a.bic != "" {
		if p.BIC, err = cypherlink.ParseBIC(a.bic); err != nil {
			return none, err
		}
	}
	return p, nil
}

// ruleSets are the hashes of the rule sets by which the two Validators judge.
type ruleSets struct{ de, dcep cypherlink.Hash }

// draw writes the network's keys below dir and gives its genesis file.
func draw(
	dir string, rules ruleSets, nowMS int64, further ...bank,
) (*chain.GenesisFile, map[string]chain.Participant, error) {
	by := map[string]chain.Participant{}
	g := &chain.GenesisFile{
		Scheme: "CypherLink local network", TimeMS: nowMS,
		Authorities: chain.Authorities{Threshold: 1},
		KeyBlock: chain.KeyBlock{
			Epoch: 1, Depth: 2, TermViews: 1, Topology: chain.Mesh, Leaders: chain.RoundRobin,
			IdleMS: idleMS, MaxBaseMS: maxBaseMS, MinExpiryS: minExpiryS,
		},
	}
	for _, a := range cast(further...) {
		p, err := newActor(dir, a)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", a.folder, err)
		}
		by[a.folder] = p
		g.Participants = append(g.Participants, p)
		if a.role == chain.RoleMember {
			g.KeyBlock.Members = append(g.KeyBlock.Members, chain.Member{
				ID: p.ID, Key: p.Key, Possession: p.Possession, Identity: p.Identity, TLS: p.TLS,
			})
		}
	}
	g.Ledgers = []chain.Ledger{
		{ID: ledgerCypherium, Kind: chain.OnChain},
		{ID: ledgerDE, Kind: chain.External, Operator: by[folderLedger].ID, MinExpiryS: minExpiryS},
	}
	one := func(id cypherlink.ParticipantID, rules cypherlink.Hash) validator.Policy {
		return validator.Policy{Threshold: 1, Validators: []cypherlink.ParticipantID{id}, RuleSet: rules}
	}
	g.Assets = []chain.Asset{
		{
			Asset: assetDE(), Label: labelDE, Issuer: by[folderLedger].ID,
			Policy: one(by[folderVoteDE].ID, rules.de),
		},
		{
			Asset: assetDCEP(), Label: labelDCEP, Issuer: by[folderIssuer].ID,
			Policy: one(by[folderVoteDCEP].ID, rules.dcep),
		},
		{
			Asset: assetClaim(), Label: labelClaim, Issuer: by[folderLedger].ID,
			Policy: one(by[folderVoteDE].ID, rules.de), Backing: assetDE(),
		},
	}
	openings := map[string]cypherlink.Amount{folderA: 0, folderB: 0, folderClearing: openingClearingDCEP}
	for _, b := range further {
		openings[b.folder] = 0
	}
	for folder, amount := range openings {
		account := cypherlink.Account{Owner: by[folder].ID}
		g.Openings = append(g.Openings,
			ledger.Balance{Account: account, Asset: assetDCEP(), Amount: amount},
			ledger.Balance{Account: account, Asset: assetClaim()})
	}
	return g, by, nil
}

// openingsDE are the accounts of the digital euro ledger.
func openingsDE(by map[string]chain.Participant, further ...bank) []ledger.Balance {
	open := func(folder string, amount cypherlink.Amount) ledger.Balance {
		return ledger.Balance{
			Account: cypherlink.Account{Owner: by[folder].ID}, Asset: assetDE(), Amount: amount,
		}
	}
	all := []ledger.Balance{
		open(folderA, openingADE), open(folderB, openingBDE), open(folderClearing, openingClearingDE),
	}
	for _, b := range further {
		all = append(all, open(b.folder, openingBDE))
	}
	return all
}

// The customers of the two banks.
const (
	debtorIBAN   = "DE02120300000000202051"
	debtorName   = "Anna Buyer"
	creditorCN   = "6222021001122334455"
	creditorName = "Beijing Laptop Works"
)

// The treasury, which each bank has under the same name and number.
const (
	treasuryName    = "Treasury"
	treasuryAccount = "1000"
)

func customersA() []customerConfig {
	return []customerConfig{{Name: debtorName, IBAN: debtorIBAN, Opening: openingClaim()}, treasury()}
}

func customersB() []customerConfig {
	return []customerConfig{{Name: creditorName, Other: creditorCN, Opening: openingClaim()}, treasury()}
}

func treasury() customerConfig {
	return customerConfig{Name: treasuryName, Other: treasuryAccount, Opening: openingClaim()}
}

// openingClaim is what each customer has at its bank for payments over the channel.
func openingClaim() []balanceConfig {
	claim := assetClaim()
	return []balanceConfig{{Asset: assetName{claim.Ledger, claim.Code}, Balance: "100000.00"}}
}
