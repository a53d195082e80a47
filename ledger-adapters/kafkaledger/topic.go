package kafkaledger

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// ErrTopic means that a topic is not what it must be: it has several partitions, or it no
// longer holds the records where its reader left off.
var ErrTopic = errors.New("kafkaledger: unusable topic")

const (
	fetchBytes     = 4 << 20                // asked for in one fetch
	fetchWait      = 500 * time.Millisecond // how long the broker waits for a record
	publishBytes   = 900 << 10              // in one batch: below the broker's usual limit of 1 MiB
	publishCount   = 1024                   // records in one batch
	recordOverhead = 64                     // at least what a record takes in a batch beside its value
	callTimeout    = 10 * time.Second       // of a call to the broker
	leastBackoff   = 50 * time.Millisecond  // after a failed call
	mostBackoff    = time.Second
)

// Broker tells how to reach the Kafka cluster.
type Broker struct {
	// Addresses are host:port of some of its brokers.
	Addresses []string
	// TLS has the client's certificate and the roots that the brokers' must lead to. It is nil
	// only for a broker on the loopback interface that asks for none.
	TLS *tls.Config
}

// client is a connection pool to the cluster.
type client struct {
	kafka.Client
	transport *kafka.Transport

	mu   sync.Mutex
	open map[*connection]bool // nil once the client is closed
}

func (b Broker) client() *client {
	c := &client{open: map[*connection]bool{}}
	c.transport = &kafka.Transport{
		TLS: b.TLS, DialTimeout: callTimeout, ClientID: "cypherlink", MetadataTTL: time.Second, Dial: c.dial,
	}
	c.Client = kafka.Client{Addr: kafka.TCP(b.Addresses...), Transport: c.transport}
	return c
}

// close ends all connections, also those on which a call that was given up waits for its answer.
func (c *client) close() {
	c.transport.CloseIdleConnections()
	c.mu.Lock()
	open := c.open
	c.open = nil
	c.mu.Unlock()
	for conn := range open {
		_ = conn.Close() // nobody waits for it any more
	}
}

// connection is one of a client's.
type connection struct {
	net.Conn
	client *client
}

func (c *client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	inner, err := (&net.Dialer{Timeout: callTimeout}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := &connection{inner, c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		return nil, errors.Join(net.ErrClosed, inner.Close())
	}
	c.open[conn] = true
	return conn, nil
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.client.mu.Lock()
	delete(c.client.open, c)
	c.client.mu.Unlock()
	return c.Conn.Close()
}

// CreateTopics makes the topics, with one partition each that keeps its records for ever, on as
// many brokers as replicas says. The brokers store batches uncompressed: their limit is then one
// on what a reader takes into memory, where a compressed batch has none. A topic that exists stays
// as it is. While the cluster says that it is not ready, CreateTopics asks again, until ctx ends.
func CreateTopics(ctx context.Context, b Broker, replicas int, names ...string) error {
	c := b.client()
	defer c.close()
	var pause backoff
	for {
		err := c.create(ctx, replicas, names)
		refused, ok := errors.AsType[kafka.Error](err)
		if !ok || !refused.Temporary() && refused != kafka.BrokerNotAvailable {
			return err
		}
		if pause.wait(ctx) != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (c *client) create(ctx context.Context, replicas int, names []string) error {
	request := kafka.CreateTopicsRequest{}
	for _, name := range names {
		request.Topics = append(request.Topics, kafka.TopicConfig{
			Topic: name, NumPartitions: 1, ReplicationFactor: replicas,
			ConfigEntries: []kafka.ConfigEntry{
				{ConfigName: "cleanup.policy", ConfigValue: "delete"},
				{ConfigName: "compression.type", ConfigValue: "uncompressed"},
				{ConfigName: "retention.ms", ConfigValue: "-1"},
				{ConfigName: "retention.bytes", ConfigValue: "-1"},
			},
		})
	}
	response, err := c.CreateTopics(ctx, &request)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, name := range names {
		if err := response.Errors[name]; err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	return nil
}

// topic is one topic with one partition, as this process reads or writes it.
type topic struct {
	name   string
	client *client
	writer *kafka.Writer
	log    *slog.Logger
}

func (c *client) topic(name string, log *slog.Logger) *topic {
	return &topic{
		name: name, client: c, log: log.With(slog.String("topic", name)),
		writer: &kafka.Writer{
			Addr: c.Addr, Topic: name, Transport: c.transport,
			Balancer:     kafka.BalancerFunc(func(kafka.Message, ...int) int { return 0 }),
			RequiredAcks: kafka.RequireAll, // the default is none
			BatchTimeout: time.Millisecond, // the default makes every write take a second
			BatchSize:    publishCount, BatchBytes: publishBytes,
			WriteTimeout: callTimeout, ReadTimeout: callTimeout,
			MaxAttempts: 1, // publish retries
		},
	}
}

// close waits for writes that have begun.
func (t *topic) close() error {
	if err := t.writer.Close(); err != nil {
		return fmt.Errorf("topic %s: %w", t.name, err)
	}
	return nil
}

// publish writes the values in their order and returns when all brokers have them. It tries
// until ctx ends, so a value may be written more than once. The values fit into one batch: of
// two batches the second could be written without the first.
func (t *topic) publish(ctx context.Context, values ...[]byte) error {
	messages := make([]kafka.Message, len(values))
	for i, v := range values {
		messages[i].Value = v
	}
	var pause backoff
	for {
		err := t.writer.WriteMessages(ctx, messages...)
		if err == nil {
			return nil
		}
		if errors.Is(err, io.ErrClosedPipe) { // the writer was closed
			return fmt.Errorf("publish to %s: %w", t.name, err)
		}
		t.log.LogAttrs(ctx, slog.LevelWarn, "records are not written", slog.Any("error", err))
		if pause.wait(ctx) != nil {
			return fmt.Errorf("publish to %s: %w", t.name, errors.Join(ctx.Err(), err))
		}
	}
}

// record is one of a topic's.
type record struct {
	offset int64
	value  []byte
}

// records are what one fetch returned.
type records struct {
	list []record
	next int64 // the offset after the last
}

// follow hands every record from the offset on to handle, in order, and waits for more until
// ctx ends, which is no error. The broker may come and go. It ends with handle's error or with
// ErrTopic.
func (t *topic) follow(
	ctx context.Context, offset int64, handle func(ctx context.Context, r records) error,
) error {
	var pause backoff
	checked := false
	for ctx.Err() == nil {
		got, err := t.next(ctx, offset, &checked)
		if err == nil {
			pause = backoff{}
			if got.next > offset {
				err = handle(ctx, got)
			}
			if err != nil {
				return err
			}
			offset = got.next
			continue
		}
		if errors.Is(err, ErrTopic) {
			return err
		}
		if pause.wait(ctx) == nil {
			t.log.LogAttrs(ctx, slog.LevelWarn, "records are not read", slog.Any("error", err))
		}
	}
	return nil
}

// next is what fetch returns, after the topic was checked once.
func (t *topic) next(ctx context.Context, offset int64, checked *bool) (records, error) {
	if !*checked {
		if err := t.onePartition(ctx); err != nil {
			return records{}, err
		}
		*checked = true
	}
	return t.fetch(ctx, offset)
}

// onePartition reports ErrTopic if the topic has more.
func (t *topic) onePartition(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := t.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{t.name}})
	if err != nil {
		return err
	}
	for _, found := range m.Topics {
		switch {
		case found.Name != t.name:
		case found.Error != nil:
			return fmt.Errorf("topic %s: %w", t.name, found.Error)
		case len(found.Partitions) != 1:
			return fmt.Errorf("topic %s has %d partitions, want 1: %w",
				t.name, len(found.Partitions), ErrTopic)
		default:
			return nil
		}
	}
	return fmt.Errorf("topic %s is not there", t.name)
}

func (t *topic) fetch(ctx context.Context, offset int64) (records, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout+fetchWait)
	defer cancel()
	response, err := t.client.Fetch(ctx, &kafka.FetchRequest{
		Topic: t.name, Partition: 0, Offset: offset,
		MinBytes: 1, MaxBytes: fetchBytes, MaxWait: fetchWait,
	})
	if err == nil {
		err = response.Error
	}
	if errors.Is(err, kafka.OffsetOutOfRange) {
		return records{}, fmt.Errorf("topic %s has no offset %d: %w: %w", t.name, offset, ErrTopic, err)
	}
	if err != nil {
		return records{}, fmt.Errorf("fetch %s from %d: %w", t.name, offset, err)
	}
	got := records{next: offset}
	found := batches(response.Records)
	for _, batch := range found {
		if err := got.take(batch, offset); err != nil {
			return records{}, fmt.Errorf("read %s after %d: %w", t.name, got.next, err)
		}
	}
	if len(found) > 0 && got.next == offset {
		// The batch that holds the offset has no record there: a broker may drop records from the
		// end of a batch, and a producer may count more than it sends. Nothing will ever be there.
		got.next++
	}
	return got, nil
}

// batches are the batches of a fetch. Read one by one, they also yield the marks that end a
// transaction of Kafka: values of no kind of ours, which must be passed like any other.
func batches(r kafka.RecordReader) []protocol.RecordReader {
	if stream, ok := r.(*protocol.RecordStream); ok {
		return stream.Records
	}
	return nil // there was none
}

// take reads a batch, which may begin before the offset that was asked for.
func (got *records) take(batch protocol.RecordReader, offset int64) error {
	for {
		r, err := batch.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		value, err := read(r)
		if err != nil {
			return err
		}
		if r.Offset >= offset {
			got.list = append(got.list, record{r.Offset, value})
			got.next = r.Offset + 1
		}
	}
}

// read takes the value of a record. The broker's limit, about 1 MiB, bounds it, since the broker
// stores it uncompressed (CreateTopics).
func read(r *kafka.Record) ([]byte, error) {
	if r.Key != nil {
		defer func() { _ = r.Key.Close() }() // a buffer in memory
	}
	if r.Value == nil {
		return nil, nil
	}
	defer func() { _ = r.Value.Close() }()
	return io.ReadAll(r.Value)
}

// backoff waits longer each time.
type backoff struct{ last time.Duration }

// wait returns ctx's error if ctx ends first.
func (b *backoff) wait(ctx context.Context) error {
	b.last = min(max(2*b.last, leastBackoff), mostBackoff)
	timer := time.NewTimer(b.last)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
