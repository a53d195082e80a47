package sign

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"

	"github.com/cypherlink/cypherlink/cosi"
)

// Identity is a participant's Ed25519 secret key. It is immutable, safe for concurrent use,
// and does not print.
type Identity struct{ private ed25519.PrivateKey }

// GenerateIdentity makes a key of 32 bytes of random, which is crypto/rand.Reader but in
// tests.
func GenerateIdentity(random io.Reader) (*Identity, error) {
	var seed [secretSize]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("key material: %w", err)
	}
	return parseIdentity(seed), nil
}

// parseIdentity takes the seed of RFC 8032 section 5.1.5; all 32 bytes are one.
func parseIdentity(seed [secretSize]byte) *Identity {
	return &Identity{private: ed25519.NewKeyFromSeed(seed[:])}
}

// Public is the key that cosi.VerifyEd25519 takes.
func (k *Identity) Public() [32]byte { return [32]byte(k.private[secretSize:]) }

// Sign signs f unless it binds, which is ErrBinds, or is not valid, which is cosi.ErrFrame.
func (k *Identity) Sign(f cosi.Frame) ([64]byte, error) {
	if Binds(f.Type) {
		return [64]byte{}, fmt.Errorf("type %#x: %w", uint8(f.Type), ErrBinds)
	}
	return k.SignRecorded(f)
}

// SignRecorded signs a valid f whose slot the caller has made durable beforehand (Once, a
// member's safety record), or which does not bind this signer: a Validator on a lane update.
func (k *Identity) SignRecorded(f cosi.Frame) ([64]byte, error) {
	if err := f.Valid(); err != nil {
		return [64]byte{}, err
	}
	b := f.Encode()
	return [64]byte(ed25519.Sign(k.private, b[:])), nil
}

// Format hides the key from every verb.
func (Identity) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue hides the key.
func (Identity) LogValue() slog.Value { return slog.StringValue(hidden) }
