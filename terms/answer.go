package terms

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrAnswer means that bytes or fields are not an answer to a batch.
var ErrAnswer = errors.New("terms: not an answer")

// MaxAnswerSize bounds the canonical bytes of an answer.
const MaxAnswerSize = 8 + 4 + MaxBatch*(2+MaxRefusalSize) + cosi.SignatureSize

// Refusal says why a party does not sign one terms of a batch.
type Refusal struct {
	// Index is the place of the terms in the batch.
	Index uint16
	// Err is told to the proposer without its cause.
	Err *cypherlink.Error
}

// Answer is what a party says to a batch: its share over the batch's frame, or at least one
// refusal and no share.
type Answer struct {
	Sequence uint64
	Share    cosi.Signature
	// Refusals ascend by index.
	Refusals []Refusal
}

// Valid reports ErrAnswer unless the refusals are in order, and an answer that refuses has no
// share.
func (a *Answer) Valid() error {
	if len(a.Refusals) > MaxBatch || len(a.Refusals) > 0 && a.Share != (cosi.Signature{}) {
		return fmt.Errorf("%d refusals: %w", len(a.Refusals), ErrAnswer)
	}
	for i, r := range a.Refusals {
		if r.Err == nil || r.Index >= MaxBatch || i > 0 && a.Refusals[i-1].Index >= r.Index {
			return fmt.Errorf("refusal %d of terms %d: %w", i, r.Index, ErrAnswer)
		}
	}
	return nil
}

// Encode is the canonical form.
func (a *Answer) Encode() []byte {
	w := wire.NewWriter(64)
	w.U64(a.Sequence)
	w.U32(uint32(len(a.Refusals))) //nolint:gosec // at most MaxBatch
	for _, r := range a.Refusals {
		w.U16(r.Index)
		AppendRefusal(w, r.Err)
	}
	if len(a.Refusals) == 0 {
		w.Fixed(a.Share[:])
	}
	return w.Bytes()
}

// DecodeAnswer takes exactly the form of Encode and checks Valid; otherwise ErrAnswer. It
// checks the form, not the share.
func DecodeAnswer(raw []byte) (*Answer, error) {
	if len(raw) > MaxAnswerSize {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(raw), MaxAnswerSize, ErrAnswer)
	}
	r := wire.NewReader(raw)
	a := Answer{Sequence: r.U64()}
	for n := r.Count(MaxBatch, 2+4*4+reasonSize); n > 0; n-- {
		a.Refusals = append(a.Refusals, Refusal{Index: r.U16(), Err: ReadRefusal(r)})
	}
	if len(a.Refusals) == 0 {
		r.Fixed(a.Share[:])
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if err := a.Valid(); err != nil {
		return nil, err
	}
	return &a, nil
}
