package chain

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrChange means that bytes are not a certified change.
var ErrChange = errors.New("chain: malformed change of the registry")

// MaxAttempts bounds how far a change may raise the registry's version.
const MaxAttempts = 1 << 10

const (
	changeDomain  wire.Domain = "cypherlink/registry-change/v1"
	scopeDomain   wire.Domain = "cypherlink/registry-scope/v1"
	subjectDomain wire.Domain = "cypherlink/registry-asset/v1"
)

// The first byte of a change.
const (
	changeRegister  uint8 = 1
	changeRotate    uint8 = 2
	changeSuspend   uint8 = 3
	changeResume    uint8 = 4
	changeRevoke    uint8 = 5
	changeSetPolicy uint8 = 6
)

// Change is one change of the registry: Register, Rotate, Suspend, Resume, Revoke or SetPolicy.
//
//sumtype:decl
type Change interface {
	// Subject is the id of the participant, or a hash of the asset, that it is about.
	Subject() cypherlink.Hash
	appendWire(w *wire.Writer)
}

// Register enters a participant, of any role but RoleMember.
type Register struct {
	Participant
	// From and Until are those of its Record; zero for an authority.
	From, Until int64
}

// Rotate gives a participant other keys. What stays is as it was; at least one changes.
type Rotate struct {
	ID cypherlink.ParticipantID
	KeySet
}

// Suspend lets an active participant end what it is a party to, and no more.
type Suspend struct{ ID cypherlink.ParticipantID }

// Resume makes a suspended participant active.
type Resume struct{ ID cypherlink.ParticipantID }

// Revoke silences a participant for good.
type Revoke struct{ ID cypherlink.ParticipantID }

// SetPolicy says which Validators an asset asks for.
type SetPolicy struct {
	Asset  cypherlink.Asset
	Policy validator.Policy
}

// Subject is the participant's id.
func (c *Register) Subject() cypherlink.Hash { return cypherlink.Hash(c.ID) }

// Subject is the participant's id.
func (c *Rotate) Subject() cypherlink.Hash { return cypherlink.Hash(c.ID) }

// Subject is the participant's id.
func (c *Suspend) Subject() cypherlink.Hash { return cypherlink.Hash(c.ID) }

// Subject is the participant's id.
func (c *Resume) Subject() cypherlink.Hash { return cypherlink.Hash(c.ID) }

// Subject is the participant's id.
func (c *Revoke) Subject() cypherlink.Hash { return cypherlink.Hash(c.ID) }

// Subject is a hash of the asset.
func (c *SetPolicy) Subject() cypherlink.Hash { return AssetSubject(c.Asset) }

// AssetSubject is the hash by which changes of an asset's policy are found.
func AssetSubject(asset cypherlink.Asset) cypherlink.Hash {
	var w wire.Writer
	asset.AppendWire(&w)
	return wire.Sum(subjectDomain, w.Bytes())
}

func (c *Register) appendWire(w *wire.Writer) {
	w.U8(changeRegister)
	c.AppendWire(w)
	w.I64(c.From)
	w.I64(c.Until)
}

func (c *Rotate) appendWire(w *wire.Writer) {
	w.U8(changeRotate)
	w.Fixed(c.ID[:])
	c.appendKeys(w)
}

func (c *Suspend) appendWire(w *wire.Writer) { appendID(w, changeSuspend, c.ID) }

func (c *Resume) appendWire(w *wire.Writer) { appendID(w, changeResume, c.ID) }

func (c *Revoke) appendWire(w *wire.Writer) { appendID(w, changeRevoke, c.ID) }

func (c *SetPolicy) appendWire(w *wire.Writer) {
	w.U8(changeSetPolicy)
	c.Asset.AppendWire(w)
	appendPolicy(w, c.Policy)
}

func appendID(w *wire.Writer, kind uint8, id cypherlink.ParticipantID) {
	w.U8(kind)
	w.Fixed(id[:])
}

func readID(r *wire.Reader) (id cypherlink.ParticipantID) {
	r.Fixed(id[:])
	return id
}

// AppendChange appends a change: its kind, and its fields follow.
func AppendChange(w *wire.Writer, c Change) { c.appendWire(w) }

// ReadChange reads what AppendChange wrote; nil with an error of the reader. It checks the form:
// whether the change may be made, Registry.Amend says.
func ReadChange(r *wire.Reader) Change {
	switch kind := r.U8(); kind {
	case changeRegister:
		return &Register{Participant: ReadParticipant(r), From: r.I64(), Until: r.I64()}
	case changeRotate:
		return &Rotate{ID: readID(r), KeySet: readKeys(r)}
	case changeSuspend:
		return &Suspend{readID(r)}
	case changeResume:
		return &Resume{readID(r)}
	case changeRevoke:
		return &Revoke{readID(r)}
	case changeSetPolicy:
		return &SetPolicy{Asset: cypherlink.ReadAsset(r), Policy: readPolicy(r)}
	default:
		r.Fail(fmt.Errorf("change of kind %d: %w", kind, ErrChange))
		return nil
	}
}

// CertifiedChange is a change that the authorities ask for. It stands on one version of the
// registry and makes a later one, so it takes effect once at most, and in order.
type CertifiedChange struct {
	// Base is the version that it changes, Version the one that it makes, at most MaxAttempts
	// above. Normally that is the next. It is a later one where the next was signed for a change
	// that came to nothing: an authority signs one change for a version.
	Base, Version uint64
	Change        Change
	// Certificate is the authorities' over Registry.Frame.
	Certificate cosi.Certificate
}

// Hash names what the authorities signed, whoever of them did.
func (c *CertifiedChange) Hash() cypherlink.Hash { return changeHash(c.Base, c.Change) }

func changeHash(base uint64, change Change) cypherlink.Hash {
	w := wire.NewWriter(512)
	w.U64(base)
	change.appendWire(w)
	return wire.Sum(changeDomain, w.Bytes())
}

// RegistryScope is the scope of every change's frame.
func RegistryScope() cypherlink.Hash { return wire.Sum(scopeDomain, nil) }

// Encode is the canonical form.
func (c *CertifiedChange) Encode() []byte {
	w := wire.NewWriter(512)
	w.U64(c.Base)
	w.U64(c.Version)
	c.Change.appendWire(w)
	c.Certificate.AppendWire(w)
	return w.Bytes()
}

// DecodeChange takes exactly the form of Encode; otherwise ErrChange. It checks the form, not the
// certificate. Every field is bounded, and so is the whole: less than 4 KiB.
func DecodeChange(b []byte) (*CertifiedChange, error) {
	r := wire.NewReader(b)
	c := CertifiedChange{
		Base: r.U64(), Version: r.U64(), Change: ReadChange(r), Certificate: cosi.ReadCertificate(r),
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChange, err)
	}
	return &c, nil
}
