package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/ledger"
)

// sealed is a copy of the chain that is only read. It implements state.Store.
type sealed struct{ db *pebble.DB }

// errSealed is what a write would get.
var errSealed = errors.New("the store is opened for reading alone, and is empty")

func openSealed(folder string) (*sealed, error) {
	db, err := pebble.Open(folder, &pebble.Options{ReadOnly: true, Logger: sealedLog{}})
	if err != nil {
		return nil, err
	}
	return &sealed{db}, nil
}

// Get implements state.Store.
func (s *sealed) Get(key []byte) (value []byte, ok bool, err error) {
	stored, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = slices.Clone(stored)
	return value, true, closer.Close()
}

// Scan implements state.Store.
func (s *sealed) Scan(from, to []byte, yield func(key, value []byte) bool) (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if !yield(it.Key(), value) {
			return nil
		}
	}
	return it.Error()
}

// Write implements state.Store. It refuses: state.Open writes only to an empty store.
func (s *sealed) Write([]state.Write) error { return errSealed }

// sealedLog leaves out what Pebble says about its housekeeping. Its errors come back from calls.
type sealedLog struct{}

// Infof implements pebble.Logger.
func (sealedLog) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (sealedLog) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger.
func (sealedLog) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(exitFailed)
}

// replica is one copy of the chain.
type replica struct {
	folder string
	store  state.Store
	state  *state.State
	// member is the place in the committee, -1 for a follower.
	member int
	// balances and custodies are those of a copy that holds by itself.
	balances  []ledger.Balance
	custodies map[ledger.CustodyID]ledger.Custody
	crossings crossings
	channels  channelBooks
	// changes are the events that tell of changes of the registry.
	changes []*state.Event
}

func (r *replica) height() uint64 { return r.state.Header().Height }

// spaceProposals is where a member keeps the blocks that it has voted for or proposed and that
// are not final (chain/member).
const spaceProposals byte = 0xc1

// openChains opens the members' copies.
func (a *audit) openChains() []*replica {
	var all []*replica
	for _, folder := range committee() {
		var c memberConfig
		err := a.config(folder, &c)
		if err == nil {
			var r *replica
			if r, err = a.openReplica(folder, filepath.Join(string(c.Node.Data), "store")); err == nil {
				r.member, err = a.place(c.Node)
				all = append(all, r)
			}
		}
		if err != nil {
			a.differs(folder, "%v", err)
		}
	}
	return all
}

// openFollower adds the copy of an institution's follower.
func (a *audit) openFollower(all []*replica, folder string, c *institutionConfig) []*replica {
	r, err := a.openReplica(folder, filepath.Join(string(c.Node.Data), "chain"))
	if err != nil {
		a.differs(folder, "%v", err)
		return all
	}
	return append(all, r)
}

func (a *audit) openReplica(folder, name string) (*replica, error) {
	s, err := openSealed(name)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, s.db.Close)
	st, err := state.Open(s, a.genesis)
	if err != nil {
		return nil, err
	}
	return &replica{folder: folder, store: s, state: st, member: -1}, nil
}

// place is the member's in the committee. It is found by the TLS certificate: an audit needs no
// private key.
func (a *audit) place(n node) (int, error) {
	raw, err := os.ReadFile(string(n.TLSCert))
	if err != nil {
		return 0, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return 0, fmt.Errorf("%s: %w", n.TLSCert, errTLS)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %w", n.TLSCert, errTLS, err)
	}
	key := cypherlink.Hash(sha256.Sum256(cert.RawSubjectPublicKeyInfo))
	members := a.genesis.File().KeyBlock.Members
	i := slices.IndexFunc(members, func(m chain.Member) bool { return m.TLS == key })
	if i < 0 {
		return 0, fmt.Errorf("%s is no member's of genesis: %w", n.TLSCert, errConfig)
	}
	return i, nil
}

// readChain checks every copy by itself, takes the longest of the members' for the chain, and
// holds the others against it.
func (a *audit) readChain(all []*replica) {
	var best *replica
	for _, r := range all {
		if err := a.check(r); err != nil {
			a.differs(r.folder, "%v", err)
		} else if r.member >= 0 && (best == nil || r.height() > best.height()) {
			best = r
		}
	}
	if best == nil {
		a.differs("chain", "no member has a copy that holds")
		return
	}
	registry := best.state.Registry()
	a.chain = append(a.chain,
		fmt.Sprintf("chain: height %d, proved final by %s", best.height(), best.folder),
		fmt.Sprintf("  registry: version %d, %d participants, %d changes since genesis",
			registry.Version(), len(registry.Records()), len(best.changes)))
	for _, r := range all {
		whose := ""
		if r.member < 0 {
			whose = "'s follower"
		}
		a.chain = append(a.chain, fmt.Sprintf("  %s%s: height %d", r.folder, whose, r.height()))
		if err := r.prefix(best); err != nil {
			a.differs(r.folder, "%v", err)
		} else if r.member >= 0 && r.height() < best.height() {
			if err := r.outdated(best); err != nil {
				a.differs(r.folder, "%v", err)
			}
		}
	}
	charter, err := a.genesis.Charter(a.genesis.Chain())
	if err != nil {
		a.differs("chain", "%v", err)
		return
	}
	a.ledger[a.genesis.Chain()] = &accounts{
		id: a.genesis.Chain(), timeMS: best.state.Header().TimeMS,
		opening: a.genesis.File().Openings, balances: best.balances, custodies: best.custodies,
		crossings: best.crossings, backings: charter.Backings, channels: best.channels,
	}
}

// check checks one copy: its blocks are whole and linked from genesis on, a member's last one
// is proved final, and its custodies, registry and accounts are those that the last block names.
func (a *audit) check(r *replica) error {
	committee, err := state.Committee(a.genesis)
	if err != nil {
		return err
	}
	var parent chain.Header
	for h := range r.height() + 1 {
		block, err := r.state.BlockAt(h)
		if err != nil {
			return err
		}
		if h > 0 {
			if err := committee.CheckBlock(block); err != nil {
				return fmt.Errorf("block %d: %w", h, err)
			}
			if err := committee.CheckChild(block.Header, parent, false); err != nil {
				return fmt.Errorf("block %d: %w", h, err)
			}
		}
		parent = block.Header
	}
	if r.member >= 0 && r.height() > 0 {
		if err := r.final(committee); err != nil {
			return err
		}
	}
	return a.readReplica(r)
}

// readReplica reads what the copy holds, and holds state and feed against each other.
func (a *audit) readReplica(r *replica) error {
	events, err := r.readEvents()
	if err != nil {
		return err
	}
	if r.custodies, err = r.readCustodies(events); err != nil {
		return err
	}
	if r.crossings, err = r.readCrossings(a.genesis, events); err != nil {
		return err
	}
	if r.channels, err = r.readChannels(events); err != nil {
		return err
	}
	if err := r.checkRegistry(a.genesis); err != nil {
		return err
	}
	r.balances, err = r.readBalances()
	return err
}

// final reports unless the last block is proved final.
func (r *replica) final(committee *chain.Committee) error {
	proof, err := r.state.ProofAt(r.height())
	if err != nil {
		return err
	}
	header, err := committee.VerifyFinality(proof)
	if err != nil {
		return fmt.Errorf("block %d is not proved final: %w", r.height(), err)
	}
	if header != r.state.Header() {
		return found("block %d is not the one that is proved final", r.height())
	}
	return nil
}

// readEvents reads the feed, whose root the last block names.
func (r *replica) readEvents() ([]*state.Event, error) {
	roots := r.state.Header().Roots
	events, leaves := make([]*state.Event, roots.FeedSize), make([]merkle.Hash, roots.FeedSize)
	for i := range roots.FeedSize {
		var err error
		if events[i], err = r.state.EventAt(i); err != nil {
			return nil, err
		}
		leaves[i] = merkle.Leaf(events[i].Encode())
		if _, ok := events[i].Fact.(state.RegistryFact); ok {
			r.changes = append(r.changes, events[i])
		}
	}
	if merkle.Root(leaves) != roots.Feed {
		return nil, found("the events are not those that block %d names", r.height())
	}
	return events, nil
}

// readCustodies reads the custodies as the feed tells them, and holds the state against them.
func (r *replica) readCustodies(events []*state.Event) (map[ledger.CustodyID]ledger.Custody, error) {
	told := map[ledger.CustodyID]ledger.Custody{}
	for _, e := range events {
		if custody, ok := e.Custody(); ok {
			told[custody.ID] = custody
		}
	}
	number := 0
	var bad error
	err := r.state.Custodies(func(c ledger.Custody) bool {
		number++
		if t := told[c.ID]; t.State != c.State || t.Subject != c.Subject || t.Preimage != c.Preimage ||
			!bytes.Equal(t.Packet, c.Packet) {
			bad = found("custody %s, %s in the state, is not what the events say", c.ID, c.State)
		}
		return bad == nil
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	if number != len(told) {
		return nil, found("%d custodies in the state, by the events %d", number, len(told))
	}
	for id, c := range told {
		c.Packet = nil // it has served
		told[id] = c
	}
	return told, nil
}

// readBalances reads the accounts and holds each against the state root that the last block
// names.
func (r *replica) readBalances() ([]ledger.Balance, error) {
	balances, err := r.state.Balances()
	if err != nil {
		return nil, err
	}
	for _, b := range balances {
		value, err := r.proved(state.BalanceKey(b.Account, b.Asset))
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", b.Account, err)
		}
		amount, err := state.DecodeAmount(value)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", b.Account, err)
		}
		if amount != b.Amount {
			return nil, found("account %s has %d, by the state root %d", b.Account, b.Amount, amount)
		}
	}
	return balances, nil
}

// proved is the value under a key, by the last block's state root.
func (r *replica) proved(key []byte) ([]byte, error) {
	p, err := r.state.Prove(key)
	if err != nil {
		return nil, err
	}
	value, ok, err := p.Verify(r.state.Header().Roots.State, key)
	if err == nil && !ok {
		err = found("it is not in the state that block %d names", r.height())
	}
	return value, err
}

// prefix reports unless the copy is the beginning of the best one.
func (r *replica) prefix(best *replica) error {
	for h := range min(r.height(), best.height()) + 1 {
		own, err := r.state.HeaderAt(h)
		if err != nil {
			return err
		}
		other, err := best.state.HeaderAt(h)
		if err != nil {
			return err
		}
		if own != other {
			return found("block %d is %s, %s has %s", h, own.ID(), best.folder, other.ID())
		}
	}
	if r.height() > best.height() {
		return found("it has block %d, no member's copy that holds goes beyond %d",
			r.height(), best.height())
	}
	return nil
}

// outdated reports a member's copy that is older than what the member has signed: it stores every
// block before it votes for it, until the block of that height is final.
func (r *replica) outdated(best *replica) error {
	held := map[cypherlink.Hash]bool{}
	var bad error
	err := r.store.Scan([]byte{spaceProposals}, []byte{spaceProposals + 1}, func(_, value []byte) bool {
		var b chain.Block
		if b, bad = chain.DecodeBlock(bytes.Clone(value)); bad == nil {
			held[b.Header.ID()] = true
		}
		return bad == nil
	})
	if err := errors.Join(err, bad); err != nil {
		return err
	}
	signed := func(q chain.QC) error {
		t := q.Tuple
		if t.Height <= r.height() || held[t.Block] || !slices.Contains(q.Votes.Signers(), r.member) {
			return nil
		}
		return found("it ends at block %d, but the member signed block %d: "+
			"the store is older than its signatures", r.height(), t.Height)
	}
	for h := r.height() + 2; h <= best.height(); h++ {
		b, err := best.state.BlockAt(h)
		if err != nil {
			return err
		}
		if err := signed(b.QC()); err != nil {
			return err
		}
	}
	proof, err := best.state.ProofAt(best.height())
	if err != nil {
		return err
	}
	return signed(proof.QC)
}
