package kyc

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrProof means that an opened field is not the one that was committed to.
var ErrProof = errors.New("kyc: not what the commitment holds")

const fieldDomain = "cypherlink/kyc-field/v1"

// File is what both banks keep of one payment: what was told and what was answered. It is
// made by NewFile or DecodeFile, does not change, and does not print.
type File struct {
	disclosure Disclosure
	answer     Answer
	leaves     [FieldCount]merkle.Hash
}

// NewFile is the file of a disclosure that the payee's bank accepted. It reports what Valid
// of either reports, and ErrAnswer for a refusal.
func NewFile(d *Disclosure, a *Answer) (*File, error) {
	if err := d.Valid(); err != nil {
		return nil, err
	}
	if err := a.Valid(); err != nil {
		return nil, err
	}
	if a.Reason != "" {
		return nil, fmt.Errorf("refused with %s: %w", a.Reason, ErrAnswer)
	}
	if slices.Contains(d.Salts[:], a.Salt) {
		return nil, fmt.Errorf("answer: %w", ErrSalt)
	}
	f := &File{disclosure: *d, answer: *a}
	for i := range f.leaves {
		text, salt := f.field(Field(i))
		f.leaves[i] = leaf(Field(i), text, salt)
	}
	return f, nil
}

// Disclosure is a copy of what was told.
func (f *File) Disclosure() Disclosure { return f.disclosure }

// Answer is a copy of what was answered.
func (f *File) Answer() Answer { return f.answer }

// field is the text and salt of a field below FieldCount.
func (f *File) field(i Field) (string, Salt) {
	if i == PayeeMatch {
		return string(f.answer.Match), f.answer.Salt
	}
	return f.disclosure.texts()[i], f.disclosure.Salts[i]
}

// leaf binds a field's text to its place, under its salt. Every part has a fixed length or a
// length before it, and merkle.Leaf's own prefix keeps leaves and nodes apart.
func leaf(f Field, text string, salt Salt) merkle.Hash {
	w := wire.NewWriter(128)
	w.Str(fieldDomain)
	w.U8(uint8(f))
	w.Fixed(salt[:])
	w.Str(text)
	return merkle.Leaf(w.Bytes())
}

// Root is the commitment that stands in the terms.
func (f *File) Root() cypherlink.Hash { return merkle.Root(f.leaves[:]) }

// Open is one field with what proves it. It reports ErrField for a field that a file has not.
func (f *File) Open(field Field) (Proof, error) {
	if field >= FieldCount {
		return Proof{}, fmt.Errorf("%s: %w", field, ErrField)
	}
	text, salt := f.field(field)
	return Proof{
		Field: field, Text: text, Salt: salt,
		Path: merkle.Inclusion(f.leaves[:], int(field)),
	}, nil
}

// Encode is the canonical form, at most MaxFile bytes: the disclosure, then the answer.
func (f *File) Encode() []byte {
	w := wire.NewWriter(1024)
	f.disclosure.appendWire(w)
	f.answer.appendWire(w)
	return w.Bytes()
}

// DecodeFile takes exactly the form of Encode.
func DecodeFile(b []byte) (*File, error) {
	r := wire.NewReader(b)
	d, a := readDisclosure(r), readAnswer(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDisclosure, err)
	}
	return NewFile(&d, &a)
}

// Format hides the file from every verb.
func (File) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue hides the file.
func (File) LogValue() slog.Value { return slog.StringValue(hidden) }
