package chain

import (
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// MaxFormer bounds the key sets that a participant has had before its present one. Who needs
// more registers anew.
const MaxFormer = 128

// Record is what the registry holds of a participant. What counts, counts from a height on: the
// first block whose signatures are judged by it. That is the block after the one with the change,
// and zero for what stands in genesis.
type Record struct {
	Participant
	// Status is Active, Suspended or Revoked, and counts from StatusSince on.
	Status      ledger.Status
	StatusSince uint64
	// From and Until bound, in seconds of block time, when the participant may speak: it may at
	// From, and no more at Until. Until is zero where there is no end.
	From, Until int64
	// Since is from when on the present keys count.
	Since uint64
	// Former are the keys before, oldest first.
	Former []Former
}

// Former is a key set that counted from a height on, until the next one did.
type Former struct {
	KeySet
	Since uint64
}

// KeysAt are the keys by which signatures in the block of that height are checked, whatever the
// participant's status; ok is false for blocks from before it was registered.
func (r *Record) KeysAt(height uint64) (keys KeySet, ok bool) {
	if height >= r.Since {
		return r.KeySet, true
	}
	for _, f := range slices.Backward(r.Former) {
		if height >= f.Since {
			return f.KeySet, true
		}
	}
	return KeySet{}, false
}

// statusAt is what the participant may do at a block time, in seconds.
func (r *Record) statusAt(seconds int64) ledger.Status {
	if r.Status == ledger.Active && (seconds < r.From || r.Until != 0 && seconds >= r.Until) {
		return ledger.NotValid
	}
	return r.Status
}

// AppendWire appends every field: what the state holds of a participant.
func (r *Record) AppendWire(w *wire.Writer) {
	r.Participant.AppendWire(w)
	w.U8(uint8(r.Status))
	w.U64(r.StatusSince)
	w.I64(r.From)
	w.I64(r.Until)
	w.U64(r.Since)
	w.U32(uint32(len(r.Former))) //nolint:gosec // at most MaxFormer
	for i := range r.Former {
		r.Former[i].appendKeys(w)
		w.U64(r.Former[i].Since)
	}
}

// ReadRecord reads what AppendWire wrote. It checks the form, and that keys and status are such.
func ReadRecord(r *wire.Reader) Record {
	rec := Record{
		Participant: ReadParticipant(r), Status: ledger.Status(r.U8()), StatusSince: r.U64(),
		From: r.I64(), Until: r.I64(), Since: r.U64(),
	}
	if s := rec.Status; r.Err() == nil && (s < ledger.Active || s > ledger.Revoked) {
		r.Fail(fmt.Errorf("a record of status %d: %w", uint8(s), wire.ErrNotCanonical))
	}
	for n := r.Count(MaxFormer, 32+96+48+32+8); n > 0; n-- {
		rec.Former = append(rec.Former, Former{KeySet: readKeys(r), Since: r.U64()})
	}
	return rec
}
