package kyc

import (
	"fmt"
	"io"
	"log/slog"
	"math/bits"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// Proof is one field of a file, opened: its text and what leads from it to the root. Who has
// it learns this field and no other. It does not print.
type Proof struct {
	Field Field
	Text  string
	Salt  Salt
	// Path is the audit path of the field's leaf.
	Path []merkle.Hash
}

// Told is what some proofs told: fields that are known, with their texts, which may be
// empty, and fields that are not. The zero value knows nothing. It does not print.
type Told struct {
	known [FieldCount]bool
	texts [FieldCount]string
}

// Verify checks every proof against the commitment of the terms. Proofs stand in ascending
// order of their fields, none twice. Otherwise ErrProof, or ErrField for a text that no file
// can hold; one wrong proof spoils all.
func Verify(root cypherlink.Hash, proofs []Proof) (Told, error) {
	var told Told
	for i := range proofs {
		p := &proofs[i]
		if i > 0 && p.Field <= proofs[i-1].Field {
			return Told{}, fmt.Errorf("%s after %s: %w", p.Field, proofs[i-1].Field, ErrProof)
		}
		if err := told.Set(p.Field, p.Text); err != nil {
			return Told{}, err
		}
		l := leaf(p.Field, p.Text, p.Salt)
		err := merkle.VerifyInclusion(l, uint64(p.Field), FieldCount, p.Path, root)
		if err != nil {
			return Told{}, fmt.Errorf("%s: %w: %w", p.Field, ErrProof, err)
		}
	}
	return told, nil
}

// Set makes f known. It reports ErrField for a text that no file can hold.
func (t *Told) Set(f Field, text string) error {
	if err := f.Check(text); err != nil {
		return err
	}
	t.known[f], t.texts[f] = true, text
	return nil
}

// Forget makes f unknown.
func (t *Told) Forget(f Field) {
	if f < FieldCount {
		t.known[f], t.texts[f] = false, ""
	}
}

// Text is the text of f and whether it is known.
func (t *Told) Text(f Field) (string, bool) {
	if f >= FieldCount {
		return "", false
	}
	return t.texts[f], t.known[f]
}

// AppendWire appends whether each field is known and its text.
func (t *Told) AppendWire(w *wire.Writer) {
	for i, known := range t.known {
		w.Bool(known)
		if known {
			w.Str(t.texts[i])
		}
	}
}

// ReadTold reads what AppendWire wrote and checks every text.
func ReadTold(r *wire.Reader) Told {
	var t Told
	for f := range Field(FieldCount) {
		if !r.Bool() {
			continue
		}
		text := r.Str(maxText)
		if r.Err() != nil {
			return Told{}
		}
		if err := t.Set(f, text); err != nil {
			r.Fail(err)
		}
	}
	return t
}

// MaxProof bounds the canonical bytes of a proof.
const MaxProof = 1 + 4 + maxText + len(Salt{}) + maxPath*len(merkle.Hash{})

// maxPath is the height of the tree.
const maxPath = 4

// AppendWire appends field, text, salt and path. The path's length follows from the field; a
// proof with another one has no canonical form and is refused by Verify.
func (p *Proof) AppendWire(w *wire.Writer) {
	w.U8(uint8(p.Field))
	w.Str(p.Text)
	w.Fixed(p.Salt[:])
	for _, h := range p.Path {
		w.Fixed(h[:])
	}
}

// ReadProof reads what AppendWire wrote. It checks the form, not what the proof proves.
func ReadProof(r *wire.Reader) Proof {
	p := Proof{Field: Field(r.U8())}
	if p.Field >= FieldCount {
		r.Fail(fmt.Errorf("%s: %w", p.Field, ErrField))
		return Proof{}
	}
	p.Text = r.Str(maxText)
	r.Fixed(p.Salt[:])
	p.Path = make([]merkle.Hash, pathLength(p.Field))
	for i := range p.Path {
		r.Fixed(p.Path[i][:])
	}
	return p
}

// pathLength is the number of hashes from a leaf to the root of FieldCount leaves: one for
// each level at which the tree splits the leaves around it (RFC 6962 section 2.1).
func pathLength(f Field) int {
	length := 0
	for index, size := int(f), FieldCount; size > 1; length++ {
		left := 1 << (bits.Len(uint(size-1)) - 1)
		if index < left {
			size = left
		} else {
			index, size = index-left, size-left
		}
	}
	return length
}

// Format hides the proof from every verb.
func (Proof) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue hides the proof.
func (Proof) LogValue() slog.Value { return slog.StringValue(hidden) }

// Format hides what was told from every verb.
func (Told) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue hides what was told.
func (Told) LogValue() slog.Value { return slog.StringValue(hidden) }
