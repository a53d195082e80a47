package cypherlink

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cypherlink/cypherlink/internal/wire"
)

var (
	// ErrHex means that text is not the lower-case hexadecimal form of its type.
	ErrHex = errors.New("not lower-case hexadecimal of the right length")
	// ErrPreimageLength means that a preimage has not exactly 32 bytes. Two ledgers that
	// disagree on the length can be played off against each other (ILP RFC 17).
	ErrPreimageLength = errors.New("a preimage has exactly 32 bytes")
)

const participantDomain wire.Domain = "cypherlink/participant/v1"

// Hash is a SHA-256 of canonical bytes.
type Hash [32]byte

// ParticipantID names a bank, a Validator, an operator or a committee member. It is the hash
// of the participant's first identity key, so it stays when keys rotate.
type ParticipantID [32]byte

// NetworkID is the first 8 bytes of SHA-256 of the raw bytes of genesis.json.
type NetworkID [8]byte

// Condition is SHA-256 of a preimage (ILP RFC 27, executionCondition).
type Condition [32]byte

// Preimage is the secret that releases a custody (ILP RFC 27, fulfillment). It does not
// print: until it is revealed it is money.
type Preimage [32]byte

// NewParticipantID is the id of the participant whose first Ed25519 identity key is key.
func NewParticipantID(key [32]byte) ParticipantID { return wire.Sum(participantDomain, key[:]) }

// NewNetworkID is the id of the network that these raw bytes of genesis.json define.
func NewNetworkID(genesis []byte) NetworkID {
	sum := sha256.Sum256(genesis)
	return NetworkID(sum[:8])
}

// ParsePreimage takes exactly 32 bytes; otherwise ErrPreimageLength.
func ParsePreimage(b []byte) (Preimage, error) {
	if len(b) != len(Preimage{}) {
		return Preimage{}, fmt.Errorf("%d bytes: %w", len(b), ErrPreimageLength)
	}
	return Preimage(b), nil
}

// Condition is the condition that p fulfils.
func (p Preimage) Condition() Condition { return sha256.Sum256(p[:]) }

// FulfilledBy tells in constant time whether p is the preimage of c.
func (c Condition) FulfilledBy(p Preimage) bool {
	got := p.Condition()
	return subtle.ConstantTimeCompare(c[:], got[:]) == 1
}

// String hides the preimage.
func (Preimage) String() string { return "preimage(hidden)" }

// GoString hides the preimage.
func (Preimage) GoString() string { return "preimage(hidden)" }

// LogValue hides the preimage.
func (Preimage) LogValue() slog.Value { return slog.StringValue("preimage(hidden)") }

// String is the lower-case hexadecimal form.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// String is the lower-case hexadecimal form.
func (id ParticipantID) String() string { return hex.EncodeToString(id[:]) }

// String is the lower-case hexadecimal form.
func (id NetworkID) String() string { return hex.EncodeToString(id[:]) }

// String is the lower-case hexadecimal form.
func (c Condition) String() string { return hex.EncodeToString(c[:]) }

// MarshalText is the lower-case hexadecimal form.
func (h Hash) MarshalText() ([]byte, error) { return AppendHex(nil, h[:]), nil }

// MarshalText is the lower-case hexadecimal form.
func (id ParticipantID) MarshalText() ([]byte, error) { return AppendHex(nil, id[:]), nil }

// MarshalText is the lower-case hexadecimal form.
func (id NetworkID) MarshalText() ([]byte, error) { return AppendHex(nil, id[:]), nil }

// MarshalText is the lower-case hexadecimal form.
func (c Condition) MarshalText() ([]byte, error) { return AppendHex(nil, c[:]), nil }

// MarshalText reveals the preimage, in lower-case hexadecimal: for proofs and for the
// owner's own store.
func (p Preimage) MarshalText() ([]byte, error) { return AppendHex(nil, p[:]), nil }

// UnmarshalText takes exactly the form of MarshalText; otherwise ErrHex.
func (h *Hash) UnmarshalText(text []byte) error { return DecodeHex(h[:], text) }

// UnmarshalText takes exactly the form of MarshalText; otherwise ErrHex.
func (id *ParticipantID) UnmarshalText(text []byte) error { return DecodeHex(id[:], text) }

// UnmarshalText takes exactly the form of MarshalText; otherwise ErrHex.
func (id *NetworkID) UnmarshalText(text []byte) error { return DecodeHex(id[:], text) }

// UnmarshalText takes exactly the form of MarshalText; otherwise ErrHex.
func (c *Condition) UnmarshalText(text []byte) error { return DecodeHex(c[:], text) }

// UnmarshalText takes exactly the form of MarshalText; otherwise ErrHex.
func (p *Preimage) UnmarshalText(text []byte) error { return DecodeHex(p[:], text) }

// AppendHex appends the lower-case hexadecimal form of src.
func AppendHex(dst, src []byte) []byte { return hex.AppendEncode(dst, src) }

// DecodeHex fills dst from lower-case hexadecimal text of exactly its length; otherwise
// ErrHex, and dst is unchanged. Upper case is refused: one value, one text.
func DecodeHex(dst, text []byte) error {
	if len(text) != 2*len(dst) {
		return fmt.Errorf("%d characters, want %d: %w", len(text), 2*len(dst), ErrHex)
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("character %q: %w", c, ErrHex)
		}
	}
	_, err := hex.Decode(dst, text)
	return err
}
