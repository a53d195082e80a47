package kafkaledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
)

const (
	hostBatch = 256  // commands in one transaction
	relayPage = 1024 // messages of the outbox in one read
)

// HostOptions make a Host. All but Log are required.
type HostOptions struct {
	Broker Broker
	// Commands and Events are the two topics.
	Commands, Events string
	// Book is the ledger; its Signer signs refusals too. Host sets its Publish and
	// PublishPassage, and its Log if that is nil.
	Book book.Options
	// OperatorKey is the public key of the book's signer.
	OperatorKey [32]byte
	// Log gets outages of the broker and what was written by nobody who may; nothing is logged
	// if nil.
	Log *slog.Logger
}

// Host is the operator's side of a ledger behind Kafka: it owns the book.
type Host struct {
	store    *store.Store
	book     *book.Book
	operator ledger.Operator
	signer   book.Signer
	client   *client
	commands *topic
	events   *topic
	queue    string // of the outbox
	log      *slog.Logger

	ignored atomic.Uint64
}

// NewHost opens the book over the store. The caller calls Run, and Close before it closes the
// store.
func NewHost(ctx context.Context, s *store.Store, o HostOptions) (*Host, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Book.Log == nil {
		o.Book.Log = o.Log
	}
	charter := &o.Book.Charter
	h := &Host{
		store: s, signer: o.Book.Signer, queue: "kafkaledger/" + string(charter.Ledger), log: o.Log,
		operator: ledger.Operator{Network: charter.Network, Ledger: charter.Ledger, Key: o.OperatorKey},
	}
	o.Book.Publish = func(tx *store.Tx, event ledger.Receipt) error {
		return h.enqueue(tx, kindRecord, event.Evidence)
	}
	o.Book.PublishPassage = func(tx *store.Tx, passage ledger.Passage) error {
		return h.enqueue(tx, kindPassage, passage.Evidence)
	}
	var err error
	if h.book, err = book.Open(ctx, s, o.Book); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	h.client = o.Broker.client()
	h.commands, h.events = h.client.topic(o.Commands, o.Log), h.client.topic(o.Events, o.Log)
	return h, nil
}

// Book is the ledger itself.
func (h *Host) Book() *book.Book { return h.book }

// Ignored counts the values in the commands topic that had no effect and no answer: they are
// no command, or a question by nobody who may ask.
func (h *Host) Ignored() uint64 { return h.ignored.Load() }

// Run applies commands and publishes what they lead to until ctx ends, which is no error. It
// outlasts outages of the broker; any other error is one of the store or the book, or ErrTopic,
// and the host has to be made anew.
func (h *Host) Run(ctx context.Context) error {
	group, within := errgroup.WithContext(ctx)
	group.Go(func() error { return h.consume(within) })
	group.Go(func() error { return h.relay(within) })
	if err := group.Wait(); err != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
		return fmt.Errorf("host of ledger %s: %w", h.operator.Ledger, err)
	}
	return nil
}

// Close ends the book, after Run has returned.
func (h *Host) Close() error {
	err := errors.Join(h.commands.close(), h.events.close(), h.book.Close())
	h.client.close()
	return err
}

// offsetName is the name under which the offset of a ledger's topic is stored.
func offsetName(id cypherlink.LedgerID, topic string) string {
	return "kafkaledger/" + string(id) + "/" + topic
}

func (h *Host) consume(ctx context.Context) error {
	name := offsetName(h.operator.Ledger, h.commands.name)
	var offset int64
	err := h.store.View(ctx, func(r *store.Reader) (err error) {
		offset, err = r.Offset(name, 0)
		return err
	})
	if err != nil {
		return err
	}
	return h.commands.follow(ctx, offset, func(ctx context.Context, r records) error {
		for len(r.list) > hostBatch {
			next := r.list[hostBatch].offset
			if err := h.process(ctx, r.list[:hostBatch], name, next); err != nil {
				return err
			}
			r.list = r.list[hostBatch:]
		}
		return h.process(ctx, r.list, name, r.next)
	})
}

// request is a value of the commands topic that gets an answer.
type request struct {
	hash    cypherlink.Hash // of the command
	command *ledger.SignedCommand
	refused error  // why the command is not authentic
	query   *query // instead of a command
}

// process answers the records, in one transaction with the offset that follows them (K2).
func (h *Host) process(ctx context.Context, list []record, name string, next int64) error {
	requests := h.parse(ctx, list)
	return h.book.Update(ctx, func(b *book.Batch) error {
		if err := h.answer(b, requests); err != nil {
			return err
		}
		return b.Tx.SetOffset(name, 0, next)
	})
}

// parse reads the values, leaves out what is nothing (K5), and authenticates the commands.
func (h *Host) parse(ctx context.Context, list []record) []*request {
	var requests, withCommand []*request
	var commands []*ledger.SignedCommand
	for _, r := range list {
		kind, body, err := unframe(r.value)
		request := &request{}
		switch {
		case err != nil:
		case kind == kindCommand:
			request.hash = commandHash(body)
			request.command, err = ledger.DecodeCommand(body)
		case kind == kindQuery:
			if request.query, err = decodeQuery(body); err == nil {
				err = h.allowed(request.query)
			}
		default:
			err = fmt.Errorf("kind %d: %w", kind, errValue)
		}
		if err != nil {
			h.ignore(ctx, r.offset, err)
			continue
		}
		requests = append(requests, request)
		if request.command != nil {
			withCommand, commands = append(withCommand, request), append(commands, request.command)
		}
	}
	for i, err := range h.book.Charter().Authenticate(commands...) {
		withCommand[i].refused = err
	}
	return requests
}

// allowed reports an error unless the query is by a registered participant, about this ledger.
func (h *Host) allowed(q *query) error {
	key, ok := h.book.Charter().Keys.Key(q.signer)
	if !ok || q.network != h.operator.Network || q.ledger != h.operator.Ledger {
		return fmt.Errorf("query by %s to ledger %.16q: %w", q.signer, string(q.ledger), errValue)
	}
	return cosi.VerifyEd25519(key, q.frame(), q.signature)
}

// ignore counts a value, and logs the first, the second, the fourth and so on.
func (h *Host) ignore(ctx context.Context, offset int64, err error) {
	if n := h.ignored.Add(1); n&(n-1) == 0 {
		h.log.LogAttrs(ctx, slog.LevelWarn, "a value in the commands topic is ignored",
			slog.Int64("offset", offset), slog.Uint64("ignored", n), slog.Any("error", err))
	}
}

// answer applies the commands and enqueues the answers that are not events.
func (h *Host) answer(b *book.Batch, requests []*request) error {
	refusals, err := readRefusals(&b.Tx.Reader, requests)
	if err != nil {
		return err
	}
	if err := b.Foresee(authentic(requests)...); err != nil {
		return err
	}
	for _, r := range requests {
		if r.query != nil {
			err = h.tell(b, r.query)
		} else {
			err = h.do(b, r, refusals)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tell answers a query.
func (h *Host) tell(b *book.Batch, q *query) error {
	receipt, err := b.Lookup(q.custody)
	if err != nil {
		return err
	}
	return h.enqueue(b.Tx, kindRecord, receipt.Evidence)
}

// do applies a command, unless a refusal of it stands already (K1).
func (h *Host) do(b *book.Batch, r *request, refusals map[cypherlink.Hash][]byte) error {
	refusal, stands := refusals[r.hash]
	if !stands {
		var err error
		if refusal, err = h.apply(b, r); err != nil || refusal == nil {
			return err
		}
		refusals[r.hash] = refusal
	}
	return h.enqueue(b.Tx, kindRefusal, refusal)
}

func authentic(requests []*request) []*ledger.SignedCommand {
	var commands []*ledger.SignedCommand
	for _, r := range requests {
		if r.command != nil && r.refused == nil {
			commands = append(commands, r.command)
		}
	}
	return commands
}

// apply applies a command. If it is refused, that is stored and returned; if it is repeated,
// what stands is published again.
func (h *Host) apply(b *book.Batch, r *request) ([]byte, error) {
	err := r.refused
	if err == nil && r.command.Crosses() {
		if err = h.cross(b, r.command); err == nil {
			return nil, nil
		}
	} else if err == nil {
		var receipt ledger.Receipt
		receipt, err = b.Apply(r.command)
		if errors.Is(err, ledger.ErrRepeated) {
			err = h.enqueue(b.Tx, kindRecord, receipt.Evidence)
		}
		if err == nil {
			return nil, nil
		}
	}
	refused, ok := errors.AsType[*cypherlink.Error](err)
	if !ok {
		return nil, err
	}
	no := newRefusal(&h.operator, r.hash, refused)
	if no.signature, err = h.signer.Sign(no.frame()); err != nil {
		return nil, fmt.Errorf("sign a refusal: %w", err)
	}
	encoded := no.encode()
	_, err = b.Tx.Exec("INSERT INTO kafka_refusals (command, refusal) VALUES ($1, $2)", r.hash[:], encoded)
	return encoded, err
}

func (h *Host) enqueue(tx *store.Tx, kind uint8, body []byte) error {
	return tx.Enqueue(h.queue, nil, frame(kind, body))
}

// relay publishes the outbox, in its order, and removes what all brokers have.
func (h *Host) relay(ctx context.Context) error {
	for {
		var page []store.Message
		err := h.store.View(ctx, func(r *store.Reader) (err error) {
			page, err = r.Pending(h.queue, relayPage)
			return err
		})
		if err != nil {
			return err
		}
		if len(page) == 0 {
			select {
			case <-h.store.Enqueued(h.queue):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if err := h.send(ctx, page); err != nil {
			return err
		}
	}
}

// send publishes the messages, in batches that the broker takes or refuses as a whole.
func (h *Host) send(ctx context.Context, page []store.Message) error {
	for len(page) > 0 {
		var values [][]byte
		size := 0
		for _, m := range page {
			size += len(m.Payload) + recordOverhead
			if len(values) == publishCount || size > publishBytes && len(values) > 0 {
				break
			}
			values = append(values, m.Payload)
		}
		if err := h.events.publish(ctx, values...); err != nil {
			return err
		}
		sent := page[:len(values)]
		page = page[len(values):]
		err := h.store.Update(ctx, func(tx *store.Tx) error {
			for _, m := range sent {
				if err := tx.Done(m.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
