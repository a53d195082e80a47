package bft_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// fakeKey signs as a BLS key does, as far as a simulation can tell: a share is a hash of the
// member and the frame, shares add up by exclusive or. Nobody forges: signatures come from
// keys alone.
type fakeKey struct{ member int }

func (k fakeKey) SignRecorded(f cosi.Frame) (cosi.Signature, error) {
	b := f.Encode()
	sum := sha256.Sum256(append(b[:], byte(k.member)))
	var s cosi.Signature
	copy(s[:], sum[:])
	s[47] = 1 // no aggregate is all zeros
	return s, nil
}

func xor(a, b cosi.Signature) cosi.Signature {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}

// fakeSignatures stands in for a roster's curve. It keeps everything else of a roster: the
// frame's roster, the quorum, the one form of a bitmap.
type fakeSignatures struct{ roster *cosi.Roster }

func (s fakeSignatures) Verify(f cosi.Frame, c cosi.Certificate) error {
	n := s.roster.Len()
	signers := c.Signers()
	if len(c.Bitmap) != (n+7)/8 || len(signers) > 0 && signers[len(signers)-1] >= n {
		return cosi.ErrBitmap
	}
	return s.VerifyMixed([]cosi.Frame{f}, [][]int{signers}, c.Signature)
}

func (s fakeSignatures) VerifyShare(f cosi.Frame, index int, share cosi.Signature) error {
	if f.Roster != s.roster.Root() {
		return cosi.ErrRoster
	}
	if index < 0 || index >= s.roster.Len() {
		return cosi.ErrMember
	}
	if want, _ := (fakeKey{index}).SignRecorded(f); share != want {
		return cosi.ErrSignature
	}
	return nil
}

func (s fakeSignatures) VerifyMixed(frames []cosi.Frame, signers [][]int, sum cosi.Signature) error {
	var all []int
	for i, f := range frames {
		if f.Roster != s.roster.Root() {
			return cosi.ErrRoster
		}
		for _, m := range signers[i] {
			if slices.Contains(all, m) {
				return cosi.ErrBitmap
			}
			all = append(all, m)
			share, _ := (fakeKey{m}).SignRecorded(f)
			sum = xor(sum, share)
		}
	}
	if err := s.roster.Satisfied(all); err != nil {
		return err
	}
	if sum != (cosi.Signature{}) {
		return cosi.ErrSignature
	}
	return nil
}

func (s fakeSignatures) AggregateMixed(shares map[int]cosi.Share) (cosi.Certificate, []int, error) {
	c := cosi.Certificate{Bitmap: make([]byte, (s.roster.Len()+7)/8)}
	var wrong, right []int
	for _, i := range slices.Sorted(maps.Keys(shares)) {
		if err := s.VerifyShare(shares[i].Frame, i, shares[i].Signature); err != nil {
			wrong = append(wrong, i)
			continue
		}
		right = append(right, i)
		c.Bitmap[i/8] |= 1 << (i % 8)
		c.Signature = xor(c.Signature, shares[i].Signature)
	}
	return c, wrong, s.roster.Satisfied(right)
}

// fakeMachine executes transactions whose first byte is not 0xff, none twice in a branch.
type fakeMachine struct {
	states map[cypherlink.Hash]*fakeState
	pool   [][]byte
	// trusting, the machine does not look for repetitions.
	trusting bool
}

type fakeState struct {
	parent *fakeState
	roots  chain.Roots
	txs    chain.Payload
}

func newFakeMachine(genesis cypherlink.Hash) *fakeMachine {
	return &fakeMachine{states: map[cypherlink.Hash]*fakeState{genesis: {}}}
}

// holds looks back 400 blocks.
func (s *fakeState) holds(tx []byte) bool {
	for i := 0; i < 400 && s != nil; i, s = i+1, s.parent {
		for _, other := range s.txs {
			if string(other) == string(tx) {
				return true
			}
		}
	}
	return false
}

var errNoParent = errors.New("parent is not executed")

func (m *fakeMachine) Build(h chain.Header) (chain.Payload, chain.Roots, error) {
	parent := m.states[h.Parent.Block]
	if parent == nil {
		return nil, chain.Roots{}, errNoParent
	}
	var p chain.Payload
	if h.Ending == (cypherlink.Hash{}) {
		for _, tx := range m.pool {
			if isKeyBlock(tx) && len(p) > 0 || len(p) == chain.MaxTransactions {
				break
			}
			if m.trusting || !parent.holds(tx) {
				p = append(p, tx)
				if isKeyBlock(tx) {
					break
				}
			}
		}
	}
	return p, rootsAfter(parent, h, p), nil
}

func isKeyBlock(tx []byte) bool { return bytes.HasPrefix(tx, []byte("CYPH-KEYBLOCK")) }

func (m *fakeMachine) Execute(h chain.Header, p chain.Payload) (chain.Roots, error) {
	parent := m.states[h.Parent.Block]
	if parent == nil {
		return chain.Roots{}, errNoParent
	}
	for _, tx := range p {
		if tx[0] == 0xff || !m.trusting && parent.holds(tx) {
			return chain.Roots{}, fmt.Errorf("transaction %x: %w", tx, bft.ErrInvalid)
		}
	}
	s := &fakeState{parent: parent, roots: rootsAfter(parent, h, p), txs: p}
	m.states[h.ID()] = s
	return s.roots, nil
}

func rootsAfter(parent *fakeState, h chain.Header, p chain.Payload) chain.Roots {
	var w wire.Writer
	w.Fixed(parent.roots.State[:])
	w.I64(h.Seconds())
	p.AppendWire(&w)
	return chain.Roots{
		State: wire.Sum("fake-state", w.Bytes()), FeedSize: parent.roots.FeedSize + uint64(len(p)),
	}
}

// fakeDisk is the file of the safety record. Of a sector that was not synced a crash leaves
// the old content, the new, or neither.
type fakeDisk struct {
	durable, written []byte
	unsynced         map[int]bool // sectors
	random           *rand.Rand
	// before, if set, runs before each write and sync; an error is the disk's answer.
	before func(step string) error
}

const sector = 512

func newFakeDisk(random *rand.Rand) *fakeDisk {
	return &fakeDisk{
		durable: make([]byte, bft.DiskSize), written: make([]byte, bft.DiskSize),
		unsynced: map[int]bool{}, random: random,
	}
}

func (d *fakeDisk) ReadAt(b []byte, at int64) (int, error) {
	if at >= int64(len(d.written)) {
		return 0, io.EOF
	}
	n := copy(b, d.written[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (d *fakeDisk) WriteAt(b []byte, at int64) (int, error) {
	if d.before != nil {
		if err := d.before("write"); err != nil {
			return 0, err
		}
	}
	for i := int(at) / sector; i*sector < int(at)+len(b); i++ {
		d.unsynced[i] = true
	}
	return copy(d.written[at:], b), nil
}

func (d *fakeDisk) Sync() error {
	if d.before != nil {
		if err := d.before("sync"); err != nil {
			return err
		}
	}
	clear(d.unsynced)
	copy(d.durable, d.written)
	return nil
}

func (d *fakeDisk) crash() {
	for _, i := range slices.Sorted(maps.Keys(d.unsynced)) {
		at := i * sector
		switch d.random.IntN(5) {
		case 0, 1:
		case 2, 3:
			copy(d.durable[at:at+sector], d.written[at:at+sector])
		case 4:
			d.durable[at+d.random.IntN(sector)] ^= 0x55
		}
	}
	clear(d.unsynced)
	copy(d.written, d.durable)
}

// fakeStore is the block store of a member; every put is one synced batch.
type fakeStore struct {
	final    []bft.Final // by height - 1
	blocks   map[cypherlink.Hash]chain.Block
	sequence uint64
}

func newFakeStore() *fakeStore { return &fakeStore{blocks: map[cypherlink.Hash]chain.Block{}} }

func (s *fakeStore) Block(height uint64) (chain.Block, bool, error) {
	if height < 1 || height > uint64(len(s.final)) {
		return chain.Block{}, false, nil
	}
	return s.final[height-1].Block, true, nil
}

func (s *fakeStore) put(blocks []chain.Block) {
	for _, b := range blocks {
		s.blocks[b.Header.ID()] = b
	}
}

// holds tells whether the store has the block, or a final one of its height or above.
func (s *fakeStore) holds(t chain.Tuple) bool {
	_, ok := s.blocks[t.Block]
	return ok || t.Height <= uint64(len(s.final))
}

func (s *fakeStore) apply(f bft.Final, sequence uint64) {
	s.final = append(s.final, f)
	s.sequence = sequence
	for id, b := range s.blocks {
		if b.Header.Height <= f.Block.Header.Height {
			delete(s.blocks, id)
		}
	}
}

func (s *fakeStore) start(genesis chain.Header, record bft.Record, c *chain.Committee) bft.Start {
	start := bft.Start{Record: record, Final: chain.Block{Header: genesis}, High: c.Genesis()}
	start.Final.Payload = chain.Payload{c.KeyBlock().Encode()}
	if n := len(s.final); n > 0 {
		start.Final = s.final[n-1].Block
		start.High = s.final[n-1].Proof.QC
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.blocks), func(a, b cypherlink.Hash) int {
		return slices.Compare(a[:], b[:])
	}) {
		start.Blocks = append(start.Blocks, s.blocks[id])
	}
	return start
}
