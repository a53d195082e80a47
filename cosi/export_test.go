package cosi

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// Bisect is bisect.
func Bisect(from, to int, sound func(from, to int) bool) []int { return bisect(from, to, sound) }

// VerifyMessage verifies over any message under any suite: for vectors of others.
func VerifyMessage(k PublicKey, message []byte, suite string, s Signature) error {
	sig, err := s.decode()
	if err != nil {
		return err
	}
	hash, err := bls.HashToG1(message, []byte(suite))
	if err != nil {
		return err
	}
	return check(sig, negatedGenerator(), []statement{{hash, lines(k.point)}}, ErrSignature)
}

// DecodeSignature is the point of s.
func DecodeSignature(s Signature) (bls.G1Affine, error) { return s.decode() }

// SumKeys adds keys without any check.
func SumKeys(keys ...PublicKey) PublicKey {
	var sum PublicKey
	for _, k := range keys {
		sum.point.Add(&sum.point, &k.point)
	}
	return sum
}

// VerifyEd25519Message is VerifyEd25519 over any message.
func VerifyEd25519Message(key [32]byte, message []byte, sig [64]byte) bool {
	return verifyEd25519(key, message, sig)
}

// VerifyEd25519Messages is VerifyEd25519Batch over any messages.
func VerifyEd25519Messages(batch []IdentitySignature, messages [][]byte) []int {
	return verifyBatch(batch, messages)
}

// Forget forgets which certificates were right.
func Forget(r *Roster) { r.right.newer, r.right.older = nil, nil }
