package tap

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/merkle"
)

// The bounds of what a Check holds.
const (
	// MaxFaults is the most faults that are told. A feed with more is not read further.
	MaxFaults = 1000
	// maxRoots is how many roots of feeds that are longer than what has come wait for the records.
	// Each record is proved by itself without them.
	maxRoots = 1024
)

// Check is a reader of the feed who believes nobody. It is given what came, in the order in which
// it came, and says by the number what is wrong. It is not safe for concurrent use.
type Check struct {
	committee *chain.Committee
	genesis   chain.Header
	// due is the number of the record that comes next.
	due uint64
	// log is what has come; whole says that it is all of the feed before due.
	log   Checkpoint
	whole bool
	// missing are the numbers below due that have not come, ascending, accused those of records
	// that are faulty, whether they count as come or not.
	missing []span
	accused map[uint64]bool
	faults  []*Fault
	// proof is the last finality proof that was verified, header what it shows.
	proof  []byte
	header chain.Header
	// newest is the highest block that was proved, longest the size of the longest feed.
	newest  chain.Header
	longest uint64
	// roots are those of feeds not shorter than log, by their size.
	roots map[uint64]cypherlink.Hash
	came  uint64
}

// span is the numbers from first to last.
type span struct{ first, last uint64 }

// NewCheck begins a check after a checkpoint, whose zero value is the beginning of the feed.
func NewCheck(genesis *chain.Genesis, after Checkpoint) (*Check, error) {
	header, err := state.GenesisHeader(genesis)
	if err != nil {
		return nil, err
	}
	committee, err := genesis.Committee(header.Roots)
	if err != nil {
		return nil, err
	}
	return &Check{
		committee: committee, genesis: header, newest: header, due: after.Size + 1,
		log: after, whole: true, accused: map[uint64]bool{}, roots: map[uint64]cypherlink.Hash{},
	}, nil
}

// Line takes one line of a saved feed: a record, a head or a page of records, as JSON.
func (c *Check) Line(line []byte) {
	if c.full() {
		return
	}
	var is struct {
		Number  jsontext.Value `json:"number"`
		Records jsontext.Value `json:"records"`
	}
	err := json.Unmarshal(line, &is)
	switch {
	case err != nil:
	case is.Records != nil:
		var p Page
		if err = decode(line, &p); err == nil {
			for i := range p.Records {
				c.Record(&p.Records[i])
			}
		}
	case is.Number != nil:
		var r Record
		if err = decode(line, &r); err == nil {
			c.Record(&r)
		}
	default:
		var h Head
		if err = decode(line, &h); err == nil {
			c.Head(&h)
		}
	}
	if err != nil {
		c.fault(Damaged, c.due, err)
	}
}

// Head takes a head that came.
func (c *Check) Head(h *Head) {
	if c.full() {
		return
	}
	if _, err := c.prove(h); err != nil {
		c.fault(Damaged, c.due, err)
	}
}

// Record takes a record that came.
func (c *Check) Record(r *Record) {
	if c.full() {
		return
	}
	c.came++
	header, err := c.prove(&r.Head)
	if err != nil {
		kind := Unproved
		if errors.Is(err, errSays) {
			kind = Edited
		}
		c.unknown(kind, r.Number, err)
		return
	}
	number := r.Number
	if err := included(r, number, header); err != nil {
		if included(r, c.due, header) != nil {
			c.unknown(Edited, number, err)
			return
		}
		number = c.due // the record that is due, under another number
		c.fault(Edited, number, fmt.Errorf("it calls itself record %d", r.Number))
	} else if err := r.says(); err != nil {
		c.fault(Edited, number, err)
	}
	c.take(number, r.Event)
}

// errSays means that what can be read is not what is proved.
var errSays = errors.New("it says something else than what is proved")

// prove gives the header that a head proves final.
func (c *Check) prove(h *Head) (chain.Header, error) {
	header := c.genesis
	if h.Height > 0 || len(h.Finality) > 0 {
		if !bytes.Equal(h.Finality, c.proof) || c.proof == nil {
			p, err := chain.DecodeFinalityProof(h.Finality)
			if err != nil {
				return chain.Header{}, err
			}
			if c.header, err = c.committee.VerifyFinality(p); err != nil {
				c.proof = nil
				return chain.Header{}, err
			}
			c.proof = h.Finality
			c.note(c.header)
		}
		header = c.header
	}
	want := headOf(header, h.Finality)
	if h.Height != want.Height || !h.Time.Equal(want.Time) ||
		h.FeedSize != want.FeedSize || h.FeedRoot != want.FeedRoot {
		return chain.Header{}, fmt.Errorf("the head of block %d: %w", h.Height, errSays)
	}
	return header, nil
}

// note keeps what a final block says of the feed.
func (c *Check) note(h chain.Header) {
	size, root := h.Roots.FeedSize, h.Roots.Feed
	other, known := c.roots[size]
	switch {
	case known && other != root, h.Height == c.newest.Height && h != c.newest,
		h.Height > c.newest.Height && size < c.newest.Roots.FeedSize:
		c.fault(Contradicted, size, fmt.Errorf("block %d and block %d", h.Height, c.newest.Height))
	case size >= c.log.Size && len(c.roots) < maxRoots:
		c.roots[size] = root
	}
	if h.Height > c.newest.Height {
		c.newest = h
	}
	c.longest = max(c.longest, size)
	c.compare()
}

// compare holds what has come against a root over exactly that much.
func (c *Check) compare() {
	root, ok := c.roots[c.log.Size]
	if ok && c.whole && root != c.log.Root() {
		c.fault(Contradicted, c.log.Size, errors.New("its feed does not begin with what was checked before"))
		c.whole = false
	}
}

// included reports unless the feed under header has the event at a number.
func included(r *Record, number uint64, header chain.Header) error {
	if number == 0 {
		return merkle.ErrProof
	}
	path := make([]merkle.Hash, len(r.Path))
	for i, h := range r.Path {
		path[i] = h
	}
	roots := header.Roots
	return merkle.VerifyInclusion(merkle.Leaf(r.Event), number-1, roots.FeedSize, path, roots.Feed)
}

// says reports unless the record says what its event, which is proved, tells.
func (r *Record) says() error {
	e, err := state.DecodeEvent(r.Event)
	if err != nil {
		return err
	}
	kind, fields := render(e)
	raw, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	if r.Height != e.Height || !r.Time.Equal(timeOf(e.TimeMS)) || r.Kind != kind || !sameJSON(r.Fields, raw) {
		return errSays
	}
	return nil
}

// sameJSON compares two values, whatever their blanks and the order of their names.
func sameJSON(a, b jsontext.Value) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	exact := jsontext.CanonicalizeRawInts(false)
	return a.Canonicalize(exact) == nil && b.Canonicalize(exact) == nil && bytes.Equal(a, b)
}

// take counts a record that is proved to be in the feed under a number.
func (c *Check) take(number uint64, event []byte) {
	switch {
	case number < c.due && c.found(number):
		c.fault(Reordered, number, nil)
	case number < c.due:
		c.fault(Repeated, number, nil)
	default:
		if number > c.due {
			c.missing = append(c.missing, span{c.due, number - 1})
			c.whole = false
		}
		if c.due = number + 1; c.whole {
			delete(c.roots, c.log.Size)
			c.log = c.log.add(event)
			c.compare()
		}
	}
}

// unknown counts what came under a number and is not proved to be what the feed has there.
func (c *Check) unknown(kind FaultKind, number uint64, err error) {
	c.fault(kind, number, err)
	if number == c.due {
		c.due++
		c.whole = false
	}
}

// found takes a number off the missing ones, if it is one of them.
func (c *Check) found(number uint64) bool {
	for i, s := range c.missing {
		if number < s.first || number > s.last {
			continue
		}
		var rest []span
		if number > s.first {
			rest = append(rest, span{s.first, number - 1})
		}
		if number < s.last {
			rest = append(rest, span{number + 1, s.last})
		}
		c.missing = slices.Replace(c.missing, i, i+1, rest...)
		return true
	}
	return false
}

func (c *Check) fault(kind FaultKind, number uint64, err error) {
	if kind == Edited || kind == Unproved {
		c.accused[number] = true
	}
	c.faults = append(c.faults, &Fault{Kind: kind, Number: number, Last: number, Err: err})
}

// full says that no more is taken.
func (c *Check) full() bool { return len(c.faults)+len(c.missing) >= MaxFaults }

// Report is what is known of a feed.
type Report struct {
	// Faults are in the order of their numbers. None means: what came is exactly what the feed
	// has from the checkpoint to Checkpoint.Size.
	Faults []*Fault
	// Records is how many have come.
	Records uint64
	// Checkpoint is where a reader goes on, if there is no fault.
	Checkpoint Checkpoint
	// Head is the newest block that was proved final, or genesis.
	Head Head
	// Stopped says that there were too many faults to go on.
	Stopped bool
}

// Report says what is wrong with what has come, as the whole up to the newest head that came.
func (c *Check) Report() Report {
	r := Report{
		Faults: slices.Clone(c.faults), Records: c.came, Checkpoint: c.log,
		Head: headOf(c.newest, nil), Stopped: c.full(),
	}
	missing := slices.Clone(c.missing)
	if c.longest >= c.due && !r.Stopped {
		missing = append(missing, span{c.due, c.longest})
	}
	for _, s := range missing {
		r.Faults = append(r.Faults, c.dropped(s)...)
	}
	slices.SortStableFunc(r.Faults, func(a, b *Fault) int { return cmp.Compare(a.Number, b.Number) })
	return r
}

// dropped are the faults of a span: of those in it that are accused, another is told already.
func (c *Check) dropped(s span) []*Fault {
	var faults []*Fault
	add := func(first, last uint64) {
		if first <= last {
			faults = append(faults, &Fault{Kind: Dropped, Number: first, Last: last})
		}
	}
	first := s.first
	for _, number := range slices.Sorted(maps.Keys(c.accused)) {
		if number >= first && number <= s.last {
			add(first, number-1)
			first = number + 1
		}
	}
	add(first, s.last)
	return faults
}
