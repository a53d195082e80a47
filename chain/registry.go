package chain

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/validator"
)

// maxName bounds names and labels, which people read and nothing signs.
const maxName = 64

// Role is what a participant is in the scheme.
type Role string

// The roles.
const (
	RoleBank      Role = "bank"
	RoleClearing  Role = "clearing"
	RoleValidator Role = "validator"
	RoleOperator  Role = "operator"
	RoleMember    Role = "member"
)

// LedgerKind tells the committee chain from ledgers that others keep.
type LedgerKind string

// The kinds.
const (
	OnChain  LedgerKind = "chain"
	External LedgerKind = "external"
)

// Participant is one entry of the registry.
type Participant struct {
	// ID is cypherlink.NewParticipantID of Identity.
	ID   cypherlink.ParticipantID
	Name string
	Role Role
	// BIC is set for banks and clearing banks, and zero for everybody else.
	BIC cypherlink.BIC
	// Identity is the Ed25519 key.
	Identity [32]byte
	// Key is the BLS key, Possession its proof.
	Key        cosi.PublicKey
	Possession cosi.Possession
	// TLS is SHA-256 of the SubjectPublicKeyInfo by which peers pin the participant.
	TLS cypherlink.Hash
}

// Ledger is a ledger of the network.
type Ledger struct {
	ID   cypherlink.LedgerID
	Kind LedgerKind
	// Operator keeps an external ledger and signs its records; zero for the chain.
	Operator cypherlink.ParticipantID
	// MinExpiryS is the least time, in seconds, that a Prepare must leave before its expiry
	// on an external ledger; zero for the chain, where the key block has it.
	MinExpiryS uint32
}

// Asset is an asset with its issuer and the approval that it asks for.
type Asset struct {
	Asset cypherlink.Asset
	// Label is what people call it, such as "DC/EP". It is never signed.
	Label  string
	Issuer cypherlink.ParticipantID
	Policy validator.Policy
}

// AppendWire appends every field: what the state holds of a participant.
func (p *Participant) AppendWire(w *wire.Writer) {
	key := p.Key.Bytes()
	w.Fixed(p.ID[:])
	w.Str(p.Name)
	w.Str(string(p.Role))
	w.Fixed(p.BIC[:])
	w.Fixed(p.Identity[:])
	w.Fixed(key[:])
	w.Fixed(p.Possession[:])
	w.Fixed(p.TLS[:])
}

// ReadParticipant reads what AppendWire wrote. It checks the form, not what ParseGenesis does.
func ReadParticipant(r *wire.Reader) Participant {
	var p Participant
	r.Fixed(p.ID[:])
	p.Name = r.Str(maxName)
	p.Role = Role(r.Str(maxName))
	r.Fixed(p.BIC[:])
	r.Fixed(p.Identity[:])
	p.Key = readKey(r)
	r.Fixed(p.Possession[:])
	r.Fixed(p.TLS[:])
	return p
}

// AppendWire appends every field but the label: what the state holds of an asset.
func (a *Asset) AppendWire(w *wire.Writer) {
	a.Asset.AppendWire(w)
	w.Fixed(a.Issuer[:])
	w.U8(uint8(a.Policy.Threshold))         //nolint:gosec // at most MaxValidators
	w.U32(uint32(len(a.Policy.Validators))) //nolint:gosec // at most MaxValidators
	for _, id := range a.Policy.Validators {
		w.Fixed(id[:])
	}
	w.Fixed(a.Policy.RuleSet[:])
}

// ReadAsset reads what AppendWire wrote. It checks the form, not what ParseGenesis does.
func ReadAsset(r *wire.Reader) Asset {
	a := Asset{Asset: cypherlink.ReadAsset(r)}
	r.Fixed(a.Issuer[:])
	a.Policy.Threshold = int(r.U8())
	a.Policy.Validators = make([]cypherlink.ParticipantID, r.Count(validator.MaxValidators, 32))
	for i := range a.Policy.Validators {
		r.Fixed(a.Policy.Validators[i][:])
	}
	r.Fixed(a.Policy.RuleSet[:])
	return a
}

func (p *Participant) check() error {
	switch {
	case p.ID != cypherlink.NewParticipantID(p.Identity):
		return errors.New("the id is not the hash of the identity key")
	case !printable(p.Name):
		return fmt.Errorf("name %.70q", p.Name)
	case p.TLS == cypherlink.Hash{}:
		return errors.New("no TLS key")
	}
	switch p.Role {
	case RoleBank, RoleClearing:
		if p.BIC.IsZero() {
			return errors.New("a bank without a BIC")
		}
	case RoleValidator, RoleOperator, RoleMember:
		if !p.BIC.IsZero() {
			return fmt.Errorf("role %s with a BIC", p.Role)
		}
	default:
		return fmt.Errorf("role %.20q", string(p.Role))
	}
	return nil
}

// printable tells whether s is a name for people: 1 to 64 bytes, no control character, no
// space at either end.
func printable(s string) bool {
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}
