package sign

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"

	bls "github.com/cloudflare/circl/ecc/bls12381"

	"github.com/cypherlink/cypherlink/cosi"
)

// ErrSecret means that bytes are not a secret key, or not enough to make one of.
var ErrSecret = errors.New("sign: not a secret key")

// MinKeyMaterial is the least input of DeriveKey, in bytes.
const MinKeyMaterial = 32

const secretSize = 32

// hidden is what a key prints, whatever the verb.
const hidden = "secret key(hidden)"

// Key is a BLS12-381 secret key with its public key. It is immutable, safe for concurrent
// use, and does not print.
type Key struct {
	secret bls.Scalar
	public cosi.PublicKey
}

// GenerateKey makes a key of 32 bytes of random, which is crypto/rand.Reader but in tests.
func GenerateKey(random io.Reader) (*Key, error) {
	var material [MinKeyMaterial]byte
	if _, err := io.ReadFull(random, material[:]); err != nil {
		return nil, fmt.Errorf("key material: %w", err)
	}
	return DeriveKey(material[:])
}

// DeriveKey is KeyGen (draft-irtf-cfrg-bls-signature-06 section 2.3) without key_info, and
// with the salt that makes it the KeyGen of version 04 and the master key of EIP-2333.
// Material below 32 bytes is ErrSecret; it must be uniform and stay secret.
func DeriveKey(material []byte) (*Key, error) {
	const length = 48 // ceil((3*ceil(log2(r)))/16)
	if len(material) < MinKeyMaterial {
		return nil, fmt.Errorf("%d bytes: %w", len(material), ErrSecret)
	}
	ikm := append(append(make([]byte, 0, len(material)+1), material...), 0)
	salt := sha256.Sum256([]byte("BLS-SIG-KEYGEN-SALT-"))
	for {
		okm, err := hkdf.Key(sha256.New, ikm, salt[:], string([]byte{0, length}), length)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSecret, err)
		}
		var secret bls.Scalar
		secret.SetBytes(okm)
		if secret.IsZero() == 0 {
			return newKey(secret)
		}
		salt = sha256.Sum256(salt[:])
	}
}

// parseKey takes the 32 bytes of a scalar from 1 to r-1; otherwise ErrSecret.
func parseKey(b [secretSize]byte) (*Key, error) {
	var secret bls.Scalar
	if err := secret.UnmarshalBinary(b[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSecret, err)
	}
	if secret.IsZero() != 0 {
		return nil, fmt.Errorf("zero: %w", ErrSecret)
	}
	return newKey(secret)
}

func newKey(secret bls.Scalar) (*Key, error) {
	var p bls.G2
	p.ScalarMult(&secret, bls.G2Generator())
	public, err := cosi.ParsePublicKey(p.BytesCompressed())
	if err != nil {
		return nil, err
	}
	return &Key{secret: secret, public: public}, nil
}

// Public is the key that verifies.
func (k *Key) Public() cosi.PublicKey { return k.public }

// Possession proves that the owner of Public knows the secret key (draft section 3.3.2).
func (k *Key) Possession() cosi.Possession {
	b := k.public.Bytes()
	return cosi.Possession(k.sign(b[:], cosi.PossessionSuite))
}

// Sign signs f unless it binds, which is ErrBinds, or is not valid, which is cosi.ErrFrame.
func (k *Key) Sign(f cosi.Frame) (cosi.Signature, error) {
	if Binds(f.Type) {
		return cosi.Signature{}, fmt.Errorf("type %#x: %w", uint8(f.Type), ErrBinds)
	}
	return k.SignRecorded(f)
}

// SignRecorded signs a valid f whose slot the caller has made durable beforehand: Once, or a
// committee member whose safety record is the table for votes, timeouts and proposals.
func (k *Key) SignRecorded(f cosi.Frame) (cosi.Signature, error) {
	if err := f.Valid(); err != nil {
		return cosi.Signature{}, err
	}
	b := f.Encode()
	return cosi.Signature(k.sign(b[:], cosi.SignatureSuite)), nil
}

// sign is CoreSign (draft section 2.6). It stays unexported: messages are frames.
func (k *Key) sign(message []byte, suite string) [cosi.SignatureSize]byte {
	var p bls.G1
	p.Hash(message, []byte(suite))
	p.ScalarMult(&k.secret, &p)
	return [cosi.SignatureSize]byte(p.BytesCompressed())
}

// Format hides the key from every verb.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue hides the key.
func (Key) LogValue() slog.Value { return slog.StringValue(hidden) }
