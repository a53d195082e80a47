package tap

import "fmt"

// FaultKind is what is wrong with a feed.
type FaultKind string

// The kinds of faults.
const (
	// Dropped: the feed has the record, and it did not come.
	Dropped FaultKind = "dropped"
	// Edited: what came under the number is not what the feed has there, or says something else
	// than its own canonical bytes.
	Edited FaultKind = "edited"
	// Reordered: the record came after one of a higher number.
	Reordered FaultKind = "reordered"
	// Repeated: the record had come before.
	Repeated FaultKind = "repeated"
	// Unproved: the block that should prove the record is not shown to be final, such as by a
	// proof without a quorum.
	Unproved FaultKind = "unproved"
	// Contradicted: the committee made two blocks final of which the feed of one is not the
	// beginning of the other's. More members are faulty than it tolerates.
	Contradicted FaultKind = "contradicted"
	// Damaged: what came where the record was due is neither a record nor a head that holds.
	Damaged FaultKind = "damaged"
)

// Fault is something that is wrong with a feed, by the number of the record.
//
//nolint:errname // a finding, which is also an error
type Fault struct {
	Kind FaultKind
	// Number is the record's, Last that of the last record of a row that was dropped, otherwise
	// Number too.
	Number, Last uint64
	// Err says more, or is nil.
	Err error
}

// Error names the record and what became of it.
func (f *Fault) Error() string {
	what := fmt.Sprintf("record %d was %s", f.Number, f.Kind)
	switch {
	case f.Last > f.Number:
		what = fmt.Sprintf("records %d to %d were %s", f.Number, f.Last, f.Kind)
	case f.Kind == Unproved || f.Kind == Contradicted:
		what = fmt.Sprintf("record %d is %s", f.Number, f.Kind)
	case f.Kind == Damaged:
		what = fmt.Sprintf("where record %d was due, the feed is %s", f.Number, f.Kind)
	}
	if f.Err != nil {
		what += ": " + f.Err.Error()
	}
	return what
}

// Unwrap is Err.
func (f *Fault) Unwrap() error { return f.Err }
