package state

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrEvent means that bytes are not an event.
var ErrEvent = errors.New("state: malformed event")

// MaxEvent bounds the canonical bytes of an event.
const MaxEvent = MaxValue

// The first byte of an event is the kind of its fact.
const (
	factCustody  uint8 = 1
	factRegistry uint8 = 2
	factCredit   uint8 = 3
	factBurn     uint8 = 4
	factChannel  uint8 = 8
	factReveal   uint8 = 9
)

// Event is one entry of the feed.
type Event struct {
	// Height and TimeMS are the block's in which it happened.
	Height uint64
	TimeMS int64
	Fact   Fact
}

// Fact is what an event tells: a CustodyFact, a RegistryFact, a CreditFact, a BurnFact, a
// ChannelFact or a RevealFact.
//
//sumtype:decl
type Fact interface {
	// Subject is what the fact is about, such as the id of the custody.
	Subject() cypherlink.Hash
	kind() uint8
	appendWire(w *wire.Writer)
}

// CustodyFact tells that a custody came to the state that it has here.
type CustodyFact struct{ Custody ledger.Custody }

// Subject is the custody's id.
func (f CustodyFact) Subject() cypherlink.Hash { return cypherlink.Hash(f.Custody.ID) }

func (f CustodyFact) kind() uint8 { return factCustody }

func (f CustodyFact) appendWire(w *wire.Writer) { f.Custody.AppendWire(w) }

// Custody is the custody that the event tells of; ok tells whether it is of one.
func (e *Event) Custody() (custody ledger.Custody, ok bool) {
	f, ok := e.Fact.(CustodyFact)
	return f.Custody, ok
}

// Encode is the canonical form, whose RFC 6962 leaf is in the feed.
func (e *Event) Encode() []byte {
	w := wire.NewWriter(1024)
	w.U8(e.Fact.kind())
	w.U64(e.Height)
	w.I64(e.TimeMS)
	e.Fact.appendWire(w)
	return w.Bytes()
}

// DecodeEvent takes exactly the form of Encode; otherwise ErrEvent. The result shares memory
// with b.
func DecodeEvent(b []byte) (*Event, error) {
	r := wire.NewReader(b)
	kind := r.U8()
	e := Event{Height: r.U64(), TimeMS: r.I64(), Fact: readFact(kind, r)}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return &e, nil
}

func readFact(kind uint8, r *wire.Reader) Fact {
	switch kind {
	case factCustody:
		return CustodyFact{ledger.ReadCustody(r)}
	case factRegistry:
		return readRegistryFact(r)
	case factCredit:
		return CreditFact{readPassed(r)}
	case factBurn:
		return BurnFact{readPassed(r)}
	case factChannel:
		return readChannelFact(r)
	case factReveal:
		return readRevealFact(r)
	default:
		r.Fail(fmt.Errorf("kind %d: %w", kind, ErrEvent))
		return nil
	}
}

// feed is the RFC 6962 log of all events since genesis, by its right edge. It is a value: a
// longer feed leaves the shorter one as it was.
type feed struct {
	size uint64
	// peaks are the roots of the perfect trees that make up the log, one for each bit that
	// is set in size, the largest first.
	peaks []cypherlink.Hash
}

// feedNode is the root of the perfect tree over the 1<<level leaves from index<<level.
type feedNode struct {
	level uint8
	index uint64
	hash  cypherlink.Hash
}

func pair(left, right cypherlink.Hash) cypherlink.Hash {
	return merkle.Root([]merkle.Hash{left, right})
}

// append is the feed with one more event, and the nodes that this completes, leaf first.
func (f feed) append(event []byte) (feed, []feedNode) {
	n := feedNode{level: 0, index: f.size, hash: merkle.Leaf(event)}
	nodes := []feedNode{n}
	left := len(f.peaks)
	for ; n.index&1 == 1; left-- {
		n = feedNode{level: n.level + 1, index: n.index >> 1, hash: pair(f.peaks[left-1], n.hash)}
		nodes = append(nodes, n)
	}
	peaks := make([]cypherlink.Hash, left, left+1)
	copy(peaks, f.peaks)
	return feed{size: f.size + 1, peaks: append(peaks, n.hash)}, nodes
}

// root is the RFC 6962 root of the log.
func (f feed) root() cypherlink.Hash {
	if len(f.peaks) == 0 {
		return merkle.Root(nil)
	}
	last := len(f.peaks) - 1
	root := f.peaks[last]
	for i := last - 1; i >= 0; i-- {
		root = pair(f.peaks[i], root)
	}
	return root
}

// feedReader reads a stored feedNode.
type feedReader interface {
	feedNode(level uint8, index uint64) (cypherlink.Hash, error)
}

// readFeed is the right edge of a feed of which the nodes are stored.
func readFeed(size uint64, nodes feedReader) (feed, error) {
	f := feed{size: size}
	for at, rest := uint64(0), size; rest > 0; {
		level := uint8(bits.Len64(rest) - 1) //nolint:gosec // 0 to 63
		peak, err := nodes.feedNode(level, at>>level)
		if err != nil {
			return feed{}, err
		}
		f.peaks = append(f.peaks, peak)
		at, rest = at+1<<level, rest-1<<level
	}
	return f, nil
}

// feedPath is the audit path of an event in the log of its first size events (RFC 6962
// section 2.1.1), for index < size.
func feedPath(index, size uint64, nodes feedReader) ([]cypherlink.Hash, error) {
	// The path runs from the leaf to the root, the walk from the root to the leaf.
	var siblings []cypherlink.Hash
	for from, n := uint64(0), size; n > 1; {
		left := uint64(1) << (bits.Len64(n-1) - 1)
		var sibling cypherlink.Hash
		var err error
		if index < from+left {
			sibling, err = feedRange(from+left, n-left, nodes)
			n = left
		} else {
			sibling, err = feedRange(from, left, nodes)
			from, n = from+left, n-left
		}
		if err != nil {
			return nil, err
		}
		siblings = append(siblings, sibling)
	}
	for i, j := 0, len(siblings)-1; i < j; i, j = i+1, j-1 {
		siblings[i], siblings[j] = siblings[j], siblings[i]
	}
	return siblings, nil
}

// feedRange is the root over n leaves from a start that a tree of that size may have.
func feedRange(from, n uint64, nodes feedReader) (cypherlink.Hash, error) {
	if n&(n-1) == 0 {
		level := uint8(bits.TrailingZeros64(n)) //nolint:gosec // 0 to 63
		return nodes.feedNode(level, from>>level)
	}
	left := uint64(1) << (bits.Len64(n-1) - 1)
	l, err := feedRange(from, left, nodes)
	if err != nil {
		return cypherlink.Hash{}, err
	}
	r, err := feedRange(from+left, n-left, nodes)
	if err != nil {
		return cypherlink.Hash{}, err
	}
	return pair(l, r), nil
}
