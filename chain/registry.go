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
	// RoleAuthority is who changes the registry, together with the other authorities.
	RoleAuthority Role = "authority"
	RoleMember    Role = "member"
	// RoleRegulator reads the chain and may not submit to it.
	RoleRegulator Role = "regulator"
)

// LedgerKind tells the committee chain from ledgers that others keep.
type LedgerKind string

// The kinds.
const (
	OnChain  LedgerKind = "chain"
	External LedgerKind = "external"
)

// Participant is who somebody is in the scheme.
type Participant struct {
	// ID is cypherlink.NewParticipantID of the first identity key, and stays when keys change.
	ID   cypherlink.ParticipantID
	Name string
	Role Role
	// BIC is set for banks and clearing banks, and zero for everybody else.
	BIC cypherlink.BIC
	KeySet
}

// KeySet is the keys of a participant at one time.
type KeySet struct {
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
	// Backing is the asset of an external ledger in whose escrow lies what an asset of the chain
	// stands for; zero for an issuer's own asset.
	Backing cypherlink.Asset
}

// Backed tells whether the asset has a Backing.
func (a *Asset) Backed() bool { return a.Backing != cypherlink.Asset{} }

// AppendWire appends every field.
func (p *Participant) AppendWire(w *wire.Writer) {
	w.Fixed(p.ID[:])
	w.Str(p.Name)
	w.Str(string(p.Role))
	w.Fixed(p.BIC[:])
	p.appendKeys(w)
}

// ReadParticipant reads what AppendWire wrote. It checks the form, not what ParseGenesis does.
func ReadParticipant(r *wire.Reader) Participant {
	var p Participant
	r.Fixed(p.ID[:])
	p.Name = r.Str(maxName)
	p.Role = Role(r.Str(maxName))
	r.Fixed(p.BIC[:])
	p.KeySet = readKeys(r)
	return p
}

func (k *KeySet) appendKeys(w *wire.Writer) {
	key := k.Key.Bytes()
	w.Fixed(k.Identity[:])
	w.Fixed(key[:])
	w.Fixed(k.Possession[:])
	w.Fixed(k.TLS[:])
}

func readKeys(r *wire.Reader) KeySet {
	var k KeySet
	r.Fixed(k.Identity[:])
	k.Key = readKey(r)
	r.Fixed(k.Possession[:])
	r.Fixed(k.TLS[:])
	return k
}

// AppendWire appends every field but the label: what the state holds of an asset.
func (a *Asset) AppendWire(w *wire.Writer) {
	a.Asset.AppendWire(w)
	w.Fixed(a.Issuer[:])
	appendPolicy(w, a.Policy)
	w.Bool(a.Backed())
	if a.Backed() {
		a.Backing.AppendWire(w)
	}
}

// ReadAsset reads what AppendWire wrote. It checks the form, not what ParseGenesis does.
func ReadAsset(r *wire.Reader) Asset {
	a := Asset{Asset: cypherlink.ReadAsset(r)}
	r.Fixed(a.Issuer[:])
	a.Policy = readPolicy(r)
	if r.Bool() {
		a.Backing = cypherlink.ReadAsset(r)
	}
	return a
}

func appendPolicy(w *wire.Writer, p validator.Policy) {
	w.U8(uint8(p.Threshold))         //nolint:gosec // at most MaxValidators
	w.U32(uint32(len(p.Validators))) //nolint:gosec // at most MaxValidators
	for _, id := range p.Validators {
		w.Fixed(id[:])
	}
	w.Fixed(p.RuleSet[:])
}

func readPolicy(r *wire.Reader) validator.Policy {
	p := validator.Policy{Threshold: int(r.U8())}
	p.Validators = make([]cypherlink.ParticipantID, r.Count(validator.MaxValidators, 32))
	for i := range p.Validators {
		r.Fixed(p.Validators[i][:])
	}
	r.Fixed(p.RuleSet[:])
	return p
}

// check reports what is wrong with a participant that enters the registry.
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
	case RoleValidator, RoleOperator, RoleRegulator, RoleAuthority, RoleMember:
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
