package chain

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrCertificate means that a QC, a TC, a vote or a timeout is malformed or is not what its
// signatures say. A wrong signature is cosi.ErrSignature.
var ErrCertificate = errors.New("chain: wrong certificate")

// QC is the quorum certificate: a quorum voted for the block of its tuple. The genesis QC of
// an epoch is the tuple {0, height and id of the key block, 0} without any signature, valid by
// definition (Committee.Genesis).
type QC struct {
	Tuple Tuple
	// Votes is the quorum's signature over the tuple; empty in a genesis QC.
	Votes cosi.Certificate
}

// Vote is one member's signature over a tuple.
type Vote struct {
	Tuple Tuple
	// Member is the voter's index in the committee.
	Member    int
	Signature cosi.Signature
}

// Timeout says that a member gave up the term whose last view is View. Signed are View and
// the view of High.
type Timeout struct {
	View uint64
	// High is the sender's highest QC, at least every one that it ever voted on top of.
	High QC
	// TC is the sender's highest TC, or nil.
	TC *TC
	// Member is the sender's index in the committee.
	Member    int
	Signature cosi.Signature
}

// TC is the timeout certificate: a quorum gave up the term whose last view is View.
type TC struct {
	View uint64
	// Timeouts is the sum of the timeouts' signatures.
	Timeouts cosi.Certificate
	// HighViews are the views of the signers' highest QCs, in the order of Timeouts.Signers.
	HighViews []uint64
	// High is the QC of the largest of them.
	High QC
}

// MaxHigh is the largest of the reported views.
func (t TC) MaxHigh() uint64 { return slices.Max(append([]uint64{0}, t.HighViews...)) }

// AppendWire appends the tuple and, unless its view is zero, the certificate.
func (q QC) AppendWire(w *wire.Writer) {
	q.Tuple.AppendWire(w)
	q.appendVotes(w)
}

func (q QC) appendVotes(w *wire.Writer) {
	if q.Tuple.View > 0 {
		q.Votes.AppendWire(w)
	}
}

// ReadQC reads what AppendWire wrote.
func ReadQC(r *wire.Reader) QC { return readVotes(r, ReadTuple(r)) }

func readVotes(r *wire.Reader, t Tuple) QC {
	q := QC{Tuple: t}
	if t.View > 0 {
		q.Votes = cosi.ReadCertificate(r)
	}
	return q
}

// AppendWire appends the canonical form.
func (v Vote) AppendWire(w *wire.Writer) {
	v.Tuple.AppendWire(w)
	appendMember(w, v.Member)
	w.Fixed(v.Signature[:])
}

// ReadVote reads what AppendWire wrote.
func ReadVote(r *wire.Reader) Vote {
	v := Vote{Tuple: ReadTuple(r), Member: int(r.U16())}
	r.Fixed(v.Signature[:])
	return v
}

// AppendWire appends the canonical form.
func (t Timeout) AppendWire(w *wire.Writer) {
	w.U64(t.View)
	t.High.AppendWire(w)
	w.Bool(t.TC != nil)
	if t.TC != nil {
		t.TC.AppendWire(w)
	}
	appendMember(w, t.Member)
	w.Fixed(t.Signature[:])
}

// ReadTimeout reads what AppendWire wrote.
func ReadTimeout(r *wire.Reader) Timeout {
	t := Timeout{View: r.U64(), High: ReadQC(r)}
	if r.Bool() {
		tc := ReadTC(r)
		t.TC = &tc
	}
	t.Member = int(r.U16())
	r.Fixed(t.Signature[:])
	return t
}

// AppendWire appends the canonical form; there are as many reported views as signers.
func (t TC) AppendWire(w *wire.Writer) {
	w.U64(t.View)
	t.Timeouts.AppendWire(w)
	for _, v := range t.HighViews {
		w.U64(v)
	}
	t.High.AppendWire(w)
}

// ReadTC reads what AppendWire wrote.
func ReadTC(r *wire.Reader) TC {
	t := TC{View: r.U64(), Timeouts: cosi.ReadCertificate(r)}
	n := len(t.Timeouts.Signers())
	if n > MaxMembers {
		r.Fail(fmt.Errorf("%d signers: %w", n, ErrCertificate))
		return TC{}
	}
	t.HighViews = make([]uint64, n)
	for i := range t.HighViews {
		t.HighViews[i] = r.U64()
	}
	t.High = ReadQC(r)
	return t
}

func appendMember(w *wire.Writer, i int) {
	w.U16(uint16(i)) //nolint:gosec // below MaxMembers
}
