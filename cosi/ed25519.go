package cosi

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// batchDomain separates the seed of a batch's weights.
const batchDomain wire.Domain = "cypherlink/cosi-ed25519-batch/v1"

// IdentitySignature is one Ed25519 signature over a frame.
type IdentitySignature struct {
	Key       [32]byte
	Frame     Frame
	Signature [64]byte
}

// rule is the project's one rule for Ed25519: FIPS 186-5 with a valid public key. A and R
// are canonical, S is below the group order, A is not of small order, and the equation is
// multiplied by the cofactor, the only one that single and batch verification decide alike.
// Under a key of small order, such as 32 zeros, 64 zeros would be a signature of everything.
func rule() *ed25519.Options {
	return &ed25519.Options{Verify: &ed25519.VerifyOptions{AllowSmallOrderR: true}}
}

// VerifyEd25519 accepts an Ed25519 signature over f; otherwise ErrFrame or ErrSignature.
func VerifyEd25519(key [32]byte, f Frame, sig [64]byte) error {
	if err := f.Valid(); err != nil {
		return err
	}
	message := f.Encode()
	if !verifyEd25519(key, message[:], sig) {
		return fmt.Errorf("key %x: %w", key[:8], ErrSignature)
	}
	return nil
}

func verifyEd25519(key [32]byte, message []byte, sig [64]byte) bool {
	return ed25519.VerifyWithOptions(key[:], message, sig[:], rule())
}

// VerifyEd25519Batch lists, ascending, the places of the signatures that VerifyEd25519
// refuses. A batch without a wrong one costs about half as much as one at a time.
func VerifyEd25519Batch(batch []IdentitySignature) []int {
	messages := make([][]byte, len(batch))
	for i, s := range batch {
		if s.Frame.Valid() == nil {
			message := s.Frame.Encode()
			messages[i] = message[:]
		}
	}
	return verifyBatch(batch, messages)
}

// verifyBatch takes the messages apart from their frames; where there is none, the
// signature is wrong.
func verifyBatch(batch []IdentitySignature, messages [][]byte) []int {
	var wrong, places []int
	verifier := ed25519.NewBatchVerifierWithCapacity(len(batch))
	var all wire.Writer
	for i, s := range batch {
		if messages[i] == nil {
			wrong = append(wrong, i)
			continue
		}
		places = append(places, i)
		verifier.AddWithOptions(s.Key[:], messages[i], s.Signature[:], rule())
		all.Fixed(s.Key[:])
		all.Var(messages[i])
		all.Fixed(s.Signature[:])
	}
	if len(places) == 0 {
		return wrong
	}
	// The weights of the batch equation come from a hash of all of it, not from a random
	// source: nobody can choose signatures to fit their weights, and the verdict is the same
	// on every machine.
	seed := wire.Sum(batchDomain, all.Bytes())
	_, right := verifier.Verify(bytes.NewReader(seed[:]))
	for at, i := range places {
		if !right[at] {
			wrong = append(wrong, i)
		}
	}
	slices.Sort(wrong)
	return wrong
}
