package chain

import (
	"crypto/sha256"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// Committee is the members of one epoch, and what they can certify. It is immutable and safe
// for concurrent use.
type Committee struct {
	network    cypherlink.NetworkID
	key        KeyBlock
	genesis    Tuple
	roster     *cosi.Roster
	signatures Signatures
}

// GenesisHeader is the block that begins a network: height, view and epoch zero, no
// committee, no proposer, and key as its only transaction. Roots are those of the genesis
// state. It is final by definition.
func GenesisHeader(network cypherlink.NetworkID, timeMS int64, key KeyBlock, roots Roots) Header {
	payload := Payload{key.Encode()}
	return Header{
		Network: network, TimeMS: timeMS, Roots: roots,
		PayloadRoot: payload.Root(), PayloadCount: 1,
	}
}

// NewCommittee makes the committee that key opens, where at is the header of the block that
// holds it and that the caller knows to be final. It refuses a key block that breaks its own
// rules or is not the payload of at, with ErrKeyBlock.
func NewCommittee(at Header, key KeyBlock) (*Committee, error) {
	payload := Payload{key.Encode()}
	if at.PayloadCount != 1 || payload.Root() != at.PayloadRoot {
		return nil, fmt.Errorf("not the payload of block %s: %w", at.ID(), ErrKeyBlock)
	}
	if key.Epoch != at.Epoch+1 {
		return nil, fmt.Errorf("epoch %d after %d: %w", key.Epoch, at.Epoch, ErrKeyBlock)
	}
	if err := key.Check(); err != nil {
		return nil, err
	}
	roster, err := key.roster()
	if err != nil {
		return nil, err
	}
	return &Committee{
		network: at.Network, key: key, roster: roster, signatures: roster,
		genesis: Tuple{Height: at.Height, Block: at.ID()},
	}, nil
}

// Using is c with s in place of its roster's curve: for simulations, whose volume the curve
// does not allow. Rosters, thresholds and every other rule stay.
func (c *Committee) Using(s Signatures) *Committee {
	other := *c
	other.signatures = s
	return &other
}

// Network is the network that the committee orders.
func (c *Committee) Network() cypherlink.NetworkID { return c.network }

// Epoch is the committee's term of office.
func (c *Committee) Epoch() uint64 { return c.key.Epoch }

// KeyBlock is what the committee is made of. Its members are shared, not copied.
func (c *Committee) KeyBlock() KeyBlock { return c.key }

// Roster is who may sign, in the order of the bits, and the quorum that they need.
func (c *Committee) Roster() *cosi.Roster { return c.roster }

// Quorum is the least number of members whose signatures make a certificate.
func (c *Committee) Quorum() int { return cosi.Quorum(c.roster.Len()) }

// MaxFaulty is the number of faulty members that the committee tolerates.
func (c *Committee) MaxFaulty() int { return cosi.MaxFaulty(c.roster.Len()) }

// Genesis is the QC from which the epoch starts: the key block, view zero, no signature.
func (c *Committee) Genesis() QC { return QC{Tuple: c.genesis} }

// Leader is the index of the member that proposes in a view, from 1.
func (c *Committee) Leader(view uint64) int {
	term := (view - 1) / uint64(c.key.TermViews)
	return int(term % uint64(c.roster.Len())) //nolint:gosec // below MaxMembers
}

// LastOfTerm is the last view of the term that view, from 1, is in: the only one that
// timeouts and TCs may name. Term t is the views tk+1 to (t+1)k.
func (c *Committee) LastOfTerm(view uint64) uint64 {
	k := uint64(c.key.TermViews)
	return ((view-1)/k + 1) * k
}

// VoteFrame is what a vote for t signs.
func (c *Committee) VoteFrame(t Tuple) cosi.Frame { return c.frame(cosi.Vote, t.View, t.AppendWire) }

// ProposalFrame is what the proposer of the block of t signs.
func (c *Committee) ProposalFrame(t Tuple) cosi.Frame {
	return c.frame(cosi.Proposal, t.View, t.AppendWire)
}

// TimeoutFrame is what a timeout of view, with a highest QC of view high, signs.
func (c *Committee) TimeoutFrame(view, high uint64) cosi.Frame {
	return c.frame(cosi.Timeout, view, func(w *wire.Writer) {
		w.U64(view)
		w.U64(high)
	})
}

// frame counts in the chain's scope, which is the network id, zero-padded. Its sequence is
// the view: after a TC an honest member votes again at one height.
func (c *Committee) frame(kind cosi.Type, view uint64, payload func(*wire.Writer)) cosi.Frame {
	w := wire.NewWriter(tupleSize)
	payload(w)
	f := cosi.Frame{
		Type: kind, Network: c.network, Epoch: c.key.Epoch, Roster: c.roster.Root(),
		Sequence: view, Payload: sha256.Sum256(w.Bytes()),
	}
	copy(f.Scope[:], c.network[:])
	return f
}

// VerifyVote accepts a vote, or says why not: ErrCertificate, cosi.ErrMember,
// cosi.ErrSignature.
func (c *Committee) VerifyVote(v Vote) error {
	if err := c.checkTuple(v.Tuple); err != nil {
		return err
	}
	return c.signatures.VerifyShare(c.VoteFrame(v.Tuple), v.Member, v.Signature)
}

// VerifyQC accepts a QC, or says why not: ErrCertificate or an error of cosi.Roster.Verify.
// Whoever knows the block compares the tuple with it.
func (c *Committee) VerifyQC(q QC) error {
	if q.Tuple.View == 0 {
		if q.Tuple != c.genesis || len(q.Votes.Bitmap) > 0 || q.Votes.Signature != (cosi.Signature{}) {
			return fmt.Errorf("not the genesis QC of epoch %d: %w", c.key.Epoch, ErrCertificate)
		}
		return nil
	}
	if err := c.checkTuple(q.Tuple); err != nil {
		return err
	}
	return c.signatures.Verify(c.VoteFrame(q.Tuple), q.Votes)
}

// checkTuple reports ErrCertificate for a tuple that no block of this epoch can have.
func (c *Committee) checkTuple(t Tuple) error {
	if t.View < 1 || t.ParentView >= t.View || t.Height <= c.genesis.Height {
		return fmt.Errorf("tuple %+v: %w", t, ErrCertificate)
	}
	return nil
}

// AggregateVotes makes a QC of the members' signatures over t, which are summed first and
// verified once. It names the members whose signature is wrong, ascending, also beside the
// error cosi.ErrPolicy, which it is if too few are left.
func (c *Committee) AggregateVotes(t Tuple, votes map[int]cosi.Signature) (QC, []int, error) {
	frame, shares := c.VoteFrame(t), make(map[int]cosi.Share, len(votes))
	for i, s := range votes {
		shares[i] = cosi.Share{Frame: frame, Signature: s}
	}
	sum, wrong, err := c.signatures.AggregateMixed(shares)
	if err != nil {
		return QC{}, wrong, err
	}
	return QC{Tuple: t, Votes: sum}, wrong, nil
}

// VerifyTimeout accepts a timeout's own signature and shape; ErrCertificate,
// cosi.ErrMember, cosi.ErrSignature. Its High and TC are for VerifyQC and VerifyTC.
func (c *Committee) VerifyTimeout(t Timeout) error {
	if err := c.checkTimeout(t.View, t.High.Tuple.View); err != nil {
		return err
	}
	frame := c.TimeoutFrame(t.View, t.High.Tuple.View)
	return c.signatures.VerifyShare(frame, t.Member, t.Signature)
}

// checkTimeout: only a term's last view may be given up, on top of a lower QC.
func (c *Committee) checkTimeout(view, high uint64) error {
	if view < 1 || view != c.LastOfTerm(view) || high >= view {
		return fmt.Errorf("timeout of view %d over a QC of view %d: %w", view, high, ErrCertificate)
	}
	return nil
}

// VerifyTC accepts a TC with its QC, or says why not: ErrCertificate or an error of
// cosi.Roster.VerifyMixed.
func (c *Committee) VerifyTC(t TC) error {
	if err := c.VerifyQC(t.High); err != nil {
		return err
	}
	return c.VerifyTimeouts(t)
}

// VerifyTimeouts is VerifyTC for who has verified a QC on the tuple of t.High already.
//
// A TC is valid iff its view is a term's last, a quorum of distinct members signed, each
// reported view is below it, and High's view is the largest reported: a leader that could
// show a lower QC could make members vote against a block that is already final.
func (c *Committee) VerifyTimeouts(t TC) error {
	signers := t.Timeouts.Signers()
	if len(signers) == 0 || len(signers) != len(t.HighViews) {
		return fmt.Errorf("%d signers, %d views: %w", len(signers), len(t.HighViews), ErrCertificate)
	}
	if last := signers[len(signers)-1]; last >= c.roster.Len() ||
		len(t.Timeouts.Bitmap) != (c.roster.Len()+7)/8 {
		return fmt.Errorf("bitmap of %d bytes, member %d: %w", len(t.Timeouts.Bitmap), last, ErrCertificate)
	}
	if shown := t.High.Tuple.View; shown != t.MaxHigh() {
		return fmt.Errorf("TC shows view %d, reported is %d: %w", shown, t.MaxHigh(), ErrCertificate)
	}
	var frames []cosi.Frame
	var groups [][]int
	at := make(map[uint64]int, 2)
	for i, high := range t.HighViews {
		if err := c.checkTimeout(t.View, high); err != nil {
			return err
		}
		g, ok := at[high]
		if !ok {
			g = len(frames)
			at[high] = g
			frames, groups = append(frames, c.TimeoutFrame(t.View, high)), append(groups, nil)
		}
		groups[g] = append(groups[g], signers[i])
	}
	return c.signatures.VerifyMixed(frames, groups, t.Timeouts.Signature)
}

// AggregateTimeouts makes a TC of timeouts of one view by distinct members, each of which the
// caller has accepted with its QC. cosi.ErrPolicy if they are too few.
func (c *Committee) AggregateTimeouts(view uint64, timeouts []Timeout) (TC, error) {
	shares, highs := make(map[int]cosi.Share, len(timeouts)), make(map[int]QC, len(timeouts))
	for _, t := range timeouts {
		frame := c.TimeoutFrame(view, t.High.Tuple.View)
		shares[t.Member] = cosi.Share{Frame: frame, Signature: t.Signature}
		highs[t.Member] = t.High
	}
	sum, _, err := c.signatures.AggregateMixed(shares)
	if err != nil {
		return TC{}, err
	}
	tc := TC{View: view, Timeouts: sum, High: c.Genesis()}
	for _, i := range sum.Signers() {
		tc.HighViews = append(tc.HighViews, highs[i].Tuple.View)
		if highs[i].Tuple.View > tc.High.Tuple.View {
			tc.High = highs[i]
		}
	}
	return tc, nil
}

// VerifyProposer accepts the proposer's signature; cosi.ErrSignature, or ErrHeader if he is
// no member.
func (c *Committee) VerifyProposer(s SignedHeader) error {
	i, ok := c.roster.Index(s.Header.Proposer)
	if !ok {
		return fmt.Errorf("proposer %s: %w", s.Header.Proposer, ErrHeader)
	}
	frame := c.ProposalFrame(s.Header.Tuple())
	return cosi.VerifyEd25519(c.key.Members[i].Identity, frame, s.Signature)
}

// CheckHeader reports ErrHeader unless h can be a block of this committee, as far as h alone
// shows: committee and leader are right, the views of parent, TC and block fit together (V2),
// and a block after a key block is empty.
func (c *Committee) CheckHeader(h Header) error {
	switch {
	case h.Network != c.network || h.Epoch != c.key.Epoch || h.Committee != c.roster.Root():
		return fmt.Errorf("network %s, epoch %d, committee %s: %w",
			h.Network, h.Epoch, h.Committee, ErrHeader)
	case h.View <= h.Parent.View || h.Height != h.Parent.Height+1:
		return fmt.Errorf("view %d, height %d on %+v: %w", h.View, h.Height, h.Parent, ErrHeader)
	case h.Parent.View == 0 && h.Parent != c.genesis:
		return fmt.Errorf("parent %+v, epoch begins at %+v: %w", h.Parent, c.genesis, ErrHeader)
	case h.View == h.Parent.View+1 && h.TCView != 0:
		return fmt.Errorf("view %d needs no TC %d: %w", h.View, h.TCView, ErrHeader)
	case h.View > h.Parent.View+1 && (h.TCView+1 != h.View || h.TCView != c.LastOfTerm(h.TCView)):
		return fmt.Errorf("view %d on view %d by TC %d: %w", h.View, h.Parent.View, h.TCView, ErrHeader)
	case h.Proposer != c.key.Members[c.Leader(h.View)].ID:
		return fmt.Errorf("proposer %s of view %d: %w", h.Proposer, h.View, ErrHeader)
	case h.Ending != (cypherlink.Hash{}) && h.PayloadCount != 0:
		return fmt.Errorf("%d transactions after key block %s: %w", h.PayloadCount, h.Ending, ErrHeader)
	}
	return nil
}

// CheckBlock reports ErrHeader or ErrPayload unless b can be a block of this committee, as
// far as b alone shows. Its certificates are for VerifyQC and VerifyTC.
func (c *Committee) CheckBlock(b Block) error {
	if err := c.CheckHeader(b.Header); err != nil {
		return err
	}
	if (b.TC == nil) != (b.Header.TCView == 0) || b.TC != nil && b.TC.View != b.Header.TCView {
		return fmt.Errorf("view %d without its TC %d: %w", b.Header.View, b.Header.TCView, ErrHeader)
	}
	key, err := b.Payload.check(b.Header)
	if err != nil {
		return err
	}
	if key != nil && key.Epoch != c.key.Epoch+1 {
		return fmt.Errorf("key block of epoch %d in epoch %d: %w", key.Epoch, c.key.Epoch, ErrPayload)
	}
	return nil
}

// CheckChild reports ErrHeader unless h can stand directly on parent, which is the key block
// that opened the epoch or another block that CheckHeader accepts. endsWith says that parent
// is a key block of this epoch.
func (c *Committee) CheckChild(h, parent Header, endsWith bool) error {
	if err := h.follows(parent, c.TupleOf(parent)); err != nil {
		return err
	}
	if want := c.EndingAfter(parent, endsWith); h.Ending != want {
		return fmt.Errorf("ending %s, not %s: %w", h.Ending, want, ErrHeader)
	}
	return nil
}

// TupleOf is the tuple that a QC on h has in this epoch: that of the genesis QC for the block
// that opened it.
func (c *Committee) TupleOf(h Header) Tuple {
	if h.Epoch < c.key.Epoch {
		return c.genesis
	}
	return h.Tuple()
}

// EndingAfter is the Ending of a child of parent; endsWith says that parent is a key block.
func (c *Committee) EndingAfter(parent Header, endsWith bool) cypherlink.Hash {
	if endsWith && parent.Epoch == c.key.Epoch && parent.Ending == (cypherlink.Hash{}) {
		return parent.ID()
	}
	return parent.Ending
}
