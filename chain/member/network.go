package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// protocolConsensus is what members speak among themselves: one-way messages, and an empty
// call.
const protocolConsensus = "cypherlink/consensus/1"

// The kinds of messages between members.
const (
	// kindConsensus is a message of chain/bft.
	kindConsensus uint8 = 1
	// kindTransactions are transactions that the sender has admitted: a count, and each behind
	// its length.
	kindTransactions uint8 = 2
	// kindPing is the empty call.
	kindPing uint8 = 3
)

// The classes of messages between members, and how many of each wait for a slow one. All lose
// the oldest: consensus repeats what matters, and its loop never waits for a peer.
const (
	classVotes        = 0
	classProposals    = 1
	classTransactions = 2

	votesInQueue        = 256
	proposalsInQueue    = 16
	transactionsInQueue = 64
)

const (
	// maxGossip bounds the transactions in one message, in bytes.
	maxGossip = 256 << 10
	// messagesInBox is how many messages of one member wait for the loop.
	messagesInBox = 32
)

// network is the member's connections.
type network struct {
	inbox    inbox
	clients  []*peer.Client // by member; nil at the own place
	listener *peer.Listener
	log      *slog.Logger
}

// inbox holds what members have sent, for each apart, so that one who floods delays himself.
type inbox struct {
	boxes []chan bft.Message
	next  int
	// ready has a value after a message came in.
	ready chan struct{}
}

func newInbox(members int) inbox {
	b := inbox{boxes: make([]chan bft.Message, members), ready: make(chan struct{}, 1)}
	for i := range b.boxes {
		b.boxes[i] = make(chan bft.Message, messagesInBox)
	}
	return b
}

// put waits for room, and with it the member that sends.
func (b *inbox) put(ctx context.Context, from int, m bft.Message) {
	select {
	case b.boxes[from] <- m:
	case <-ctx.Done():
		return
	}
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take gives the next message, of one member after the other.
func (b *inbox) take() (bft.Input, bool) {
	for range b.boxes {
		from := b.next
		b.next = (b.next + 1) % len(b.boxes)
		select {
		case m := <-b.boxes[from]:
			return bft.Received{From: from, Message: m}, true
		default:
		}
	}
	return nil, false
}

func (m *Member) openNetwork(ctx context.Context, o Options) (err error) {
	members := m.committee.KeyBlock().Members
	m.network = network{
		log: o.Log, inbox: newInbox(len(members)), clients: make([]*peer.Client, len(members)),
	}
	m.network.listener, err = peer.Listen(ctx, o.Listen, o.TLS, o.Log, m.consensus(), m.participants())
	if err != nil {
		return err
	}
	for i, member := range members {
		if i == m.self {
			continue
		}
		m.network.clients[i], err = peer.Dial(
			o.Peers[member.ID], peer.SPKI(member.TLS), o.TLS, consensusProtocol(),
			peer.Class{Length: votesInQueue, Drop: true},
			peer.Class{Length: proposalsInQueue, Drop: true},
			peer.Class{Length: transactionsInQueue, Drop: true},
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *network) close() error {
	var errs []error
	for i, c := range n.clients {
		if c != nil {
			errs = append(errs, c.Close())
			n.clients[i] = nil
		}
	}
	if n.listener != nil {
		errs = append(errs, n.listener.Close())
	}
	return errors.Join(errs...)
}

func consensusProtocol() peer.Protocol {
	p := peer.DefaultProtocol(protocolConsensus)
	p.MaxBody = bft.MaxMessage
	return p
}

// consensus is the service for the other members.
func (m *Member) consensus() peer.Service {
	others := map[peer.SPKI]int{}
	for i, member := range m.committee.KeyBlock().Members {
		if i != m.self {
			others[peer.SPKI(member.TLS)] = i
		}
	}
	return peer.Service{
		Protocol: consensusProtocol(),
		Accept:   func(pin peer.SPKI) bool { _, ok := others[pin]; return ok },
		Receive: func(ctx context.Context, from peer.SPKI, kind uint8, body []byte) {
			if err := m.receive(ctx, others[from], kind, body); err != nil {
				m.meters.malformed.Add(1)
				m.log.LogAttrs(ctx, slog.LevelWarn, "member speaks nonsense",
					slog.Int("member", others[from]), slog.Any("error", err))
			}
		},
		// The one call is for measuring how long it takes.
		Answer:   func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) { return nil, nil },
		MaxConns: connsPerMember * len(others), MaxCalls: 1,
	}
}

const connsPerMember = 8

func (m *Member) receive(ctx context.Context, from int, kind uint8, body []byte) error {
	switch kind {
	case kindConsensus:
		epoch, message, err := bft.Decode(body)
		if err != nil {
			return err
		}
		if epoch == m.committee.Epoch() {
			m.network.inbox.put(ctx, from, message)
		}
		return nil
	case kindTransactions:
		txs, err := decodeTransactions(body)
		if err != nil {
			return err
		}
		for _, tx := range txs {
			select {
			case m.arrivals <- arrival{tx: tx}:
			default: // the votes of this member, behind it on the connection, do not wait
				m.meters.dropped.Add(1)
			}
		}
		return nil
	}
	return fmt.Errorf("kind %d: %w", kind, bft.ErrMessage)
}

// measureEvery is how often round trips are measured.
const measureEvery = 5 * time.Second

// measure tells the loop, from time to time, how long the slowest member that answers takes to
// answer.
func (m *Member) measure(ctx context.Context) error {
	again := time.NewTicker(measureEvery)
	defer again.Stop()
	for {
		if longest := m.network.roundTrip(ctx); longest > 0 {
			select {
			case m.trips <- longest:
			default: // the loop has not read the last one yet
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *network) roundTrip(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, measureEvery)
	defer cancel()
	var answers sync.WaitGroup
	trips := make([]time.Duration, len(n.clients))
	for i, c := range n.clients {
		if c == nil || !c.Connected() {
			continue
		}
		answers.Go(func() {
			began := time.Now()
			if _, err := c.Call(ctx, kindPing, nil); err == nil { // who does not answer does not count
				trips[i] = time.Since(began)
			}
		})
	}
	answers.Wait()
	return slices.Max(trips)
}

// send hands a message to the network.
func (n *network) send(ctx context.Context, s bft.Send, epoch uint64) {
	class := classVotes
	switch s.Message.(type) {
	case bft.Proposal, bft.Fetch, bft.Blocks, bft.Status:
		class = classProposals
	default:
	}
	body := bft.Encode(epoch, s.Message)
	for i := range n.clients {
		if s.To == bft.Everyone || s.To == i {
			n.tell(ctx, i, class, kindConsensus, body)
		}
	}
}

// gossip forwards transactions to all other members, once: they do not forward them again.
func (n *network) gossip(ctx context.Context, txs []*state.Transaction) {
	for len(txs) > 0 {
		count, size := 0, 0
		for count < len(txs) && size <= maxGossip {
			size += 4 + len(txs[count].Encode())
			count++
		}
		body := encodeTransactions(txs[:count], size)
		for i := range n.clients {
			n.tell(ctx, i, classTransactions, kindTransactions, body)
		}
		txs = txs[count:]
	}
}

func (n *network) tell(ctx context.Context, to, class int, kind uint8, body []byte) {
	client := n.clients[to]
	if client == nil {
		return
	}
	if err := client.Send(ctx, class, kind, body); err != nil {
		n.log.LogAttrs(ctx, slog.LevelWarn, "message not sent",
			slog.Int("member", to), slog.Any("error", err))
	}
}

func encodeTransactions(txs []*state.Transaction, size int) []byte {
	w := wire.NewWriter(4 + size)
	w.U32(uint32(len(txs))) //nolint:gosec // at most MaxTransactions
	for _, tx := range txs {
		w.Var(tx.Encode())
	}
	return w.Bytes()
}

// decodeTransactions takes exactly the form of encodeTransactions; otherwise bft.ErrMessage.
// Each has memory of its own, since one may stay long after the others.
func decodeTransactions(b []byte) ([]*state.Transaction, error) {
	r := wire.NewReader(b)
	txs := make([]*state.Transaction, r.Count(chain.MaxTransactions, 5))
	for i := range txs {
		raw := r.Var(state.MaxTransaction)
		if r.Err() != nil {
			break
		}
		var err error
		if txs[i], err = state.DecodeTransaction(slices.Clone(raw)); err != nil {
			r.Fail(err)
		}
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("transactions: %w: %w", bft.ErrMessage, err)
	}
	return txs, nil
}
