package kafkaledger_test

import (
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
)

// cluster is a Kafka cluster for one test: the embedded one, or a real one.
type cluster struct {
	broker  kafkaledger.Broker
	running *kfake.Cluster // nil for a real one, like the functions
	stop    func()
	restart func()
}

// clusters runs the test on the embedded broker, and with the build tag integration on Apache
// Kafka too.
func clusters(t *testing.T, test func(*testing.T, *cluster)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { test(t, embedded(t)) })
	runReal(t, test)
}

// embedded starts a broker in this process that keeps its topics over a restart.
func embedded(t testing.TB, options ...kfake.Opt) *cluster {
	t.Helper()
	dir, port := t.TempDir(), 0
	c := &cluster{}
	c.restart = func() {
		var err error
		c.running, err = kfake.NewCluster(append([]kfake.Opt{
			kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(dir),
		}, options...)...)
		if err != nil {
			t.Fatal(err)
		}
		c.broker.Addresses = c.running.ListenAddrs()
		_, found, _ := strings.Cut(c.broker.Addresses[0], ":")
		if port, err = strconv.Atoi(found); err != nil {
			t.Fatal(err)
		}
	}
	c.stop = func() { c.running.Close() }
	c.restart()
	t.Cleanup(func() { c.stop() })
	return c
}

// topics creates two topics with names of their own.
func (c *cluster) topics(t testing.TB) (commands, events string) {
	t.Helper()
	id := strings.ToLower(rand.Text())
	commands, events = "commands-"+id, "events-"+id
	if err := kafkaledger.CreateTopics(t.Context(), c.broker, 1, commands, events); err != nil {
		t.Fatal(err)
	}
	c.length(t, commands)
	c.length(t, events)
	return commands, events
}

// write puts raw values into a topic.
func (c *cluster) write(t testing.TB, topic string, values ...[]byte) {
	t.Helper()
	transport := &kafka.Transport{TLS: c.broker.TLS}
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{
		Addr: kafka.TCP(c.broker.Addresses...), Topic: topic, RequiredAcks: kafka.RequireAll,
		BatchTimeout: 1, Transport: transport, BatchSize: 100,
	}
	messages := make([]kafka.Message, len(values))
	for i, v := range values {
		messages[i].Value = v
	}
	if err := w.WriteMessages(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// length is the offset after the topic's last record.
func (c *cluster) length(t testing.TB, topic string) int64 {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for { // a topic's leader takes a moment to serve it
		last, err := c.offset(t, topic)
		if err == nil {
			return last
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (c *cluster) offset(t testing.TB, topic string) (int64, error) {
	dialer := &kafka.Dialer{TLS: c.broker.TLS}
	conn, err := dialer.DialLeader(t.Context(), "tcp", c.broker.Addresses[0], topic, 0)
	if err != nil {
		return 0, err
	}
	last, err := conn.ReadLastOffset()
	return last, errors.Join(err, conn.Close())
}

// read returns all values that a topic holds now.
func (c *cluster) read(t testing.TB, topic string) [][]byte {
	t.Helper()
	last := c.length(t, topic)
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.broker.Addresses, Topic: topic, Dialer: &kafka.Dialer{TLS: c.broker.TLS},
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 50 * time.Millisecond,
	})
	var values [][]byte
	for int64(len(values)) < last {
		m, err := r.ReadMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, m.Value)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return values
}
