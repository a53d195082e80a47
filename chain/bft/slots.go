package bft

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrObserver means that a member must not sign: its safety record is damaged, older than
// its store, of another epoch, or retired. It may run as an observer until a key block gives
// it new keys.
var ErrObserver = errors.New("bft: observer only")

const (
	slotMagic              = "CYPH-SAFETY-v1\x00\x00"
	slotDomain wire.Domain = "cypherlink/safety-slot/v1"
	// slotSize keeps each copy in sectors of its own, on disks of 512 and of 4,096 bytes.
	slotSize = 4096
	pairSize = 2 * slotSize
	maxBody  = slotSize - len(slotMagic) - 8 - 4 - 32
)

// DiskSize is the length of the file of the safety record.
const DiskSize = 2 * pairSize

// slots keep the newest record on a disk (I6). Record number s is written into pair s%2 as
// two equal copies under one fsync; the pair beside it still holds number s-1. A copy is
//
//	magic 16 | sequence 8 | length 4 | body | zeros | SHA-256 over all before 32
type slots struct {
	disk     Disk
	sequence uint64
	// failed is the first error of a write. What the disk holds since then is unknown, so
	// nothing more is written.
	failed error
}

// formatSlots makes body the first record, number 1, in a file of DiskSize bytes.
func formatSlots(d Disk, body []byte) error {
	s := &slots{disk: d}
	first := encodeSlot(0, body)
	if err := s.write(0, append(first, first...)); err != nil {
		return err
	}
	return s.put(body)
}

// openSlots gives the newest record. One bad copy is repaired from its twin. A pair whose
// copies are both bad is a torn write of the newer record, which was never acknowledged, and
// is dropped if the other pair is whole. Anything else is ErrObserver: a rotted newest record
// must not let an older one speak.
func openSlots(d Disk) (*slots, []byte, error) {
	var all [DiskSize]byte
	if n, err := d.ReadAt(all[:], 0); n < len(all) {
		return nil, nil, fmt.Errorf("%d of %d bytes (%w): %w", n, len(all), err, ErrObserver)
	}
	if n, err := d.ReadAt(make([]byte, 1), DiskSize); n != 0 || !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("longer than %d bytes: %w", DiskSize, ErrObserver)
	}
	even, err := readPair(all[:pairSize], 0)
	if err != nil {
		return nil, nil, err
	}
	odd, err := readPair(all[pairSize:], 1)
	if err != nil {
		return nil, nil, err
	}
	newest, err := newestOf(even, odd)
	if err != nil {
		return nil, nil, err
	}
	s := &slots{disk: d, sequence: newest.sequence}
	for i, p := range []pair{even, odd} {
		if p.bad == none || p.bad == torn {
			continue
		}
		// Only the bad copy is written: a crash now must leave its twin.
		if err := s.write(i*pairSize+p.bad*slotSize, encodeSlot(p.sequence, p.body)); err != nil {
			return nil, nil, err
		}
	}
	return s, newest.body, nil
}

// put writes the next record. After an error nobody knows what is on the disk, so every
// later call fails too; opening the slots again decides.
func (s *slots) put(body []byte) error {
	if len(body) > maxBody {
		return fmt.Errorf("safety record of %d bytes: %w", len(body), ErrUnsafe)
	}
	next := s.sequence + 1
	slot := encodeSlot(next, body)
	if err := s.write(int(next%2)*pairSize, append(slot, slot...)); err != nil {
		return err
	}
	s.sequence = next
	return nil
}

func (s *slots) write(at int, b []byte) error {
	if s.failed != nil {
		return s.failed
	}
	if _, err := s.disk.WriteAt(b, int64(at)); err != nil {
		s.failed = fmt.Errorf("write the safety record: %w", err)
	} else if err := s.disk.Sync(); err != nil {
		s.failed = fmt.Errorf("sync the safety record: %w", err)
	}
	return s.failed
}

// none and torn are values of pair.bad beside the copies 0 and 1.
const (
	none = -1
	torn = 2
)

// pair is two copies as found.
type pair struct {
	sequence uint64
	body     []byte
	// bad is the copy to be repaired, or none, or torn if neither counts.
	bad int
}

// readPair takes the pair of records whose number is place modulo 2. Two good copies of
// different records are a write that was cut between them: the higher one counts, since what
// was about to be promised forbids more.
func readPair(b []byte, place uint64) (pair, error) {
	seq0, body0, ok0 := decodeSlot(b[:slotSize], place)
	seq1, body1, ok1 := decodeSlot(b[slotSize:], place)
	switch {
	case !ok0 && !ok1:
		return pair{bad: torn}, nil
	case !ok1:
		return pair{seq0, body0, 1}, nil
	case !ok0:
		return pair{seq1, body1, 0}, nil
	case seq0 == seq1 && bytes.Equal(body0, body1):
		return pair{seq0, body0, none}, nil
	case seq0 == seq1:
		// Two torn writes of this number, one after the other, of which sectors made a whole.
		// Neither was acknowledged.
		return pair{bad: torn}, nil
	case seq0 == seq1+2:
		return pair{seq0, body0, 1}, nil
	case seq1 == seq0+2:
		return pair{seq1, body1, 0}, nil
	}
	return pair{}, fmt.Errorf("records %d and %d in one pair: %w", seq0, seq1, ErrObserver)
}

func newestOf(p, q pair) (pair, error) {
	switch {
	case p.bad == torn && q.bad == none:
		return q, nil
	case q.bad == torn && p.bad == none:
		return p, nil
	case p.bad == torn || q.bad == torn:
		return pair{}, fmt.Errorf("three bad copies: %w", ErrObserver)
	case p.sequence == q.sequence+1:
		return p, nil
	case q.sequence == p.sequence+1:
		return q, nil
	}
	return pair{}, fmt.Errorf("records %d and %d: %w", p.sequence, q.sequence, ErrObserver)
}

func encodeSlot(sequence uint64, body []byte) []byte {
	w := wire.NewWriter(2 * slotSize)
	w.Fixed([]byte(slotMagic))
	w.U64(sequence)
	w.Var(body)
	b := append(w.Bytes(), make([]byte, maxBody-len(body))...)
	sum := wire.Sum(slotDomain, b)
	return append(b, sum[:]...)
}

// decodeSlot takes exactly the form of encodeSlot.
func decodeSlot(b []byte, place uint64) (uint64, []byte, bool) {
	r := wire.NewReader(b)
	var magic [len(slotMagic)]byte
	r.Fixed(magic[:])
	sequence, body := r.U64(), r.Var(maxBody)
	if r.Err() != nil || sequence%2 != place {
		return 0, nil, false
	}
	return sequence, body, bytes.Equal(b, encodeSlot(sequence, body))
}
