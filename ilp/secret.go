package ilp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cypherlink/cypherlink"
)

var (
	// ErrDecrypt means that an envelope does not open under a secret: another secret, or
	// changed bytes.
	ErrDecrypt = errors.New("the STREAM envelope does not open")
	// ErrToken means that an address is not one that this payee's bank gave out.
	ErrToken = errors.New("not an address of ours")
)

const hidden = "secret(hidden)"

// ServerSecret is the one secret that a payee's bank keeps: 32 random bytes from which it
// derives again the secret of every address that it gave out. It does not print.
type ServerSecret [32]byte

// SharedSecret is what the two banks of one payment share (RFC 29): 32 random bytes, carried
// over an encrypted channel. Whoever knows it can derive the preimage of every packet under
// it, so it is money. It does not print.
type SharedSecret [32]byte

// Format hides the secret.
func (ServerSecret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// Format hides the secret.
func (SharedSecret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the secret.
func (ServerSecret) LogValue() slog.Value { return slog.StringValue(hidden) }

// LogValue hides the secret.
func (SharedSecret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText reveals the secret, in lower-case hexadecimal: for the payee's answer to the
// payer's bank, and for the payer's own store.
func (s SharedSecret) MarshalText() ([]byte, error) { return cypherlink.AppendHex(nil, s[:]), nil }

// UnmarshalText takes exactly the form of MarshalText; otherwise ErrHex.
func (s *SharedSecret) UnmarshalText(text []byte) error { return cypherlink.DecodeHex(s[:], text) }

func mac(key []byte, message []byte) [32]byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return [32]byte(h.Sum(nil))
}

// A token is a nonce and a tag over nonce and base address.
const (
	tokenNonce = 18
	tokenTag   = 18
)

// SharedSecret derives the secret of a connection from its token (RFC 29, 4.1.2).
func (s ServerSecret) SharedSecret(token []byte) SharedSecret {
	key := mac(s[:], []byte("ilp_stream_shared_secret"))
	return mac(key[:], token)
}

// NewAddress draws an address below base, with the secret to share with whoever may pay to
// it. Nothing has to be kept: Recover finds the secret again. random is a cryptographic
// source; base has to leave room for 49 more bytes.
func (s ServerSecret) NewAddress(random io.Reader, base Address) (Address, SharedSecret, error) {
	token := make([]byte, tokenNonce, tokenNonce+tokenTag)
	if _, err := io.ReadFull(random, token); err != nil {
		return "", SharedSecret{}, fmt.Errorf("draw a token: %w", err)
	}
	token = append(token, s.tag(base, token)...)
	address, err := base.Child(base64.RawURLEncoding.EncodeToString(token))
	if err != nil {
		return "", SharedSecret{}, err
	}
	return address, s.SharedSecret(token), nil
}

// Recover derives the shared secret of an address that NewAddress gave out below base;
// otherwise ErrToken.
func (s ServerSecret) Recover(base, address Address) (SharedSecret, error) {
	text, _ := address.Below(base)
	token, err := base64.RawURLEncoding.DecodeString(text)
	canonical := base64.RawURLEncoding.EncodeToString(token) == text
	if err != nil || len(token) != tokenNonce+tokenTag || !canonical {
		return SharedSecret{}, fmt.Errorf("%.80q below %.80q: %w", address, base, ErrToken)
	}
	if subtle.ConstantTimeCompare(s.tag(base, token[:tokenNonce]), token[tokenNonce:]) != 1 {
		return SharedSecret{}, fmt.Errorf("%.80q below %.80q: %w", address, base, ErrToken)
	}
	return s.SharedSecret(token), nil
}

func (s ServerSecret) tag(base Address, nonce []byte) []byte {
	key := mac(s[:], []byte("cypherlink_address_token"))
	tag := mac(key[:], append(append([]byte(nil), nonce...), base...))
	return tag[:tokenTag]
}

// An envelope is nonce, tag and ciphertext of AES-256-GCM (RFC 29, 5.1).
const (
	envelopeIV   = 12
	envelopeTag  = 16
	envelopeHead = envelopeIV + envelopeTag
)

func (s SharedSecret) aead() (cipher.AEAD, error) {
	key := mac(s[:], []byte("ilp_stream_encryption"))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Seal encrypts plaintext into an envelope of 28 bytes more. random is a cryptographic
// source: a nonce that repeats under one secret gives the plaintexts away.
func (s SharedSecret) Seal(random io.Reader, plaintext []byte) ([]byte, error) {
	gcm, err := s.aead()
	if err != nil {
		return nil, err
	}
	envelope := make([]byte, envelopeHead, envelopeHead+len(plaintext)+envelopeTag)
	if _, err := io.ReadFull(random, envelope[:envelopeIV]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	sealed := gcm.Seal(envelope, envelope[:envelopeIV], plaintext, nil)
	tag := sealed[len(sealed)-envelopeTag:]
	copy(sealed[envelopeIV:], tag) // STREAM puts the tag first, Go last
	return sealed[:len(sealed)-envelopeTag], nil
}

// Open is the plaintext of an envelope, or ErrDecrypt.
func (s SharedSecret) Open(envelope []byte) ([]byte, error) {
	if len(envelope) < envelopeHead {
		return nil, fmt.Errorf("%d bytes: %w", len(envelope), ErrDecrypt)
	}
	gcm, err := s.aead()
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, 0, len(envelope)-envelopeIV)
	sealed = append(append(sealed, envelope[envelopeHead:]...), envelope[envelopeIV:envelopeHead]...)
	plaintext, err := gcm.Open(sealed[:0], envelope[:envelopeIV], sealed, nil)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}

// Preimage is the preimage of a packet with that data under s (RFC 29, 5.1.1). It hashes the
// envelope as carried, so a fresh nonce gives a fresh condition.
func (s SharedSecret) Preimage(data []byte) cypherlink.Preimage {
	key := mac(s[:], []byte("ilp_stream_fulfillment"))
	return mac(key[:], data)
}
