package kafkaledger_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// pairs submits n payments, each prepared and confirmed, from some submitters at once, and
// calls step after each.
func (s *site) pairs(name string, n int, step func(done int64)) {
	s.t.Helper()
	var done, next atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				p := s.Payment(fmt.Sprint(name, i), 1, start+3600)
				for _, c := range []*ledger.SignedCommand{s.Prepare(p), s.Confirm(s.Bob, p)} {
					if _, err := s.gateway.Submit(s.context(), c); err != nil {
						s.t.Errorf("payment %d: %v", i, err)
						return
					}
				}
				step(done.Add(1))
			}
		})
	}
	all.Wait()
}

// The broker dies in the middle, twice, and comes back: nobody notices but by waiting.
func TestBrokerRestarts(t *testing.T) {
	c := embedded(t)
	s := newSite(t, c, ledgertest.NewWorld())
	const n = 60
	s.pairs("payment ", n, func(done int64) {
		if done == 15 || done == 40 {
			c.stop()
			c.restart()
		}
	})
	if a := s.audit(); a.Events != 2*n || len(a.Custodies) != n {
		t.Errorf("%d events of %d custodies", a.Events, len(a.Custodies))
	}
}

// The broker takes records and says that it did not: they are written again.
func TestLostAcknowledgements(t *testing.T) {
	c := embedded(t)
	s := newSite(t, c, ledgertest.NewWorld())
	lost := c.running.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 10,
	})
	const n = 30
	s.pairs("payment ", n, func(int64) {})
	if lost.Hits() != 10 {
		t.Errorf("%d acknowledgements were lost", lost.Hits())
	}
	commands, events := c.length(t, s.commands), c.length(t, s.events)
	if commands+events <= 4*n {
		t.Errorf("%d commands and %d records for %d payments: nothing was written twice", commands, events, n)
	}
	if a := s.audit(); a.Events != 2*n || len(a.Custodies) != n {
		t.Errorf("%d events of %d custodies", a.Events, len(a.Custodies))
	}
}

// Whatever the broker answers to whatever call, for a while, the payments go through.
func TestFaultyBroker(t *testing.T) {
	c := embedded(t)
	s := newSite(t, c, ledgertest.NewWorld())
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.Metadata} {
		for _, err := range []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownServerError,
			kerr.NotEnoughReplicasAfterAppend, kerr.UnknownTopicOrPartition,
		} {
			c.running.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: 1})
		}
	}
	const n = 16
	s.pairs("payment ", n, func(int64) {})
	if a := s.audit(); a.Events != 2*n {
		t.Errorf("%d events", a.Events)
	}
}

// The marks of Kafka's transactions and the records of an aborted one are passed over, or have
// no effect.
func TestForeignTransactions(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newSite(t, c, ledgertest.NewWorld())
		client, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addresses...),
			kgo.TransactionalID(rand.Text()), kgo.DefaultProduceTopic(s.commands))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		transaction := func(value []byte, how kgo.TransactionEndTry) {
			if err := client.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := client.ProduceSync(t.Context(), &kgo.Record{Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := client.EndTransaction(t.Context(), how); err != nil {
				t.Fatal(err)
			}
		}
		p := s.Payment("one", 700, start+20)
		transaction(kafkaledger.CommandValue(s.Prepare(p)), kgo.TryCommit)
		transaction([]byte("nonsense"), kgo.TryAbort)
		transaction([]byte("nonsense"), kgo.TryCommit)
		s.must(s.Confirm(s.Bob, p))
		s.must(s.Prepare(s.Payment("two", 700, start+20)))
		transaction([]byte("nonsense"), kgo.TryAbort)
		s.passes(s.hostStore, s.commands) // the last record is a mark
		if a := s.audit(); a.Events != 3 {
			t.Errorf("%d events", a.Events)
		}
	})
}

// passes waits until whoever has the store has read the topic to its end.
func (s *site) passes(st *store.Store, topic string) {
	s.t.Helper()
	for ctx := s.context(); ; {
		var offset int64
		err := st.View(ctx, func(r *store.Reader) (err error) {
			offset, err = r.Offset("kafkaledger/"+string(s.Ledger)+"/"+topic, 0)
			return err
		})
		if err != nil {
			s.t.Fatalf("read up to %d: %v", offset, err)
		}
		if offset == s.cluster.length(s.t, topic) {
			return
		}
	}
}

// certificates makes an authority and certificates by it, for a server on the loopback
// interface and for a client.
func certificates(t testing.TB) (roots *x509.CertPool, server, client tls.Certificate) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (
		*x509.Certificate, *ecdsa.PrivateKey,
	) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, parentKey = template, key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return made, key
	}
	root, rootKey := issue(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	var leaves []tls.Certificate
	for i, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		leaf, key := issue(&x509.Certificate{
			SerialNumber: big.NewInt(int64(2 + i)), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		}, root, rootKey)
		leaves = append(leaves, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key})
	}
	roots = x509.NewCertPool()
	roots.AddCert(root)
	return roots, leaves[0], leaves[1]
}

// Both sides speak mutual TLS, and without a certificate nobody is let in.
func TestMutualTLS(t *testing.T) {
	roots, server, client := certificates(t)
	c := embedded(t, kfake.TLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
	}))
	for name, config := range map[string]*tls.Config{
		"no TLS":         nil,
		"no certificate": {MinVersion: tls.VersionTLS13, RootCAs: roots},
		"no known root":  {MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{client}},
		"the server's own": {
			MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{server},
		},
	} {
		broker := kafkaledger.Broker{Addresses: c.broker.Addresses, TLS: config}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := kafkaledger.CreateTopics(ctx, broker, 1, "topic"); err == nil {
			t.Errorf("%s: let in", name)
		}
		cancel()
	}
	c.broker.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{client},
	}
	s := newSite(t, c, ledgertest.NewWorld())
	p := s.Payment("one", 700, start+20)
	s.must(s.Prepare(p))
	s.must(s.Confirm(s.Bob, p))
}

const (
	childStore  = "CYPHERLINK_TEST_CHILD" // the database of a host in a process of its own
	childTopics = "CYPHERLINK_TEST_TOPICS"
)

// child runs a host until it is killed.
func child(dsn string) error {
	ctx := context.Background()
	st, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	s := &site{
		World: ledgertest.NewWorld(), cluster: &cluster{}, clockMS: &atomic.Int64{}, hostStore: st,
	}
	s.clockMS.Store(start * 1000)
	names := strings.Split(os.Getenv(childTopics), " ")
	s.commands, s.events, s.cluster.broker.Addresses = names[0], names[1], names[2:]
	if s.host, err = kafkaledger.NewHost(ctx, st, s.hostOptions()); err != nil {
		return err
	}
	fmt.Println("ready")
	return s.host.Run(ctx)
}

// The host's process is killed again and again: no command is lost or doubled (K1, K2).
func TestKilledHost(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	clusters(t, func(t *testing.T, c *cluster) {
		s := &site{
			World: ledgertest.NewWorld(), t: t, cluster: c, clockMS: &atomic.Int64{}, gatewayStore: open(t),
		}
		s.commands, s.events = c.topics(t)
		s.startGateway()
		dsn := "sqlite:" + t.TempDir() + "/host.db"
		kill := s.startChild(dsn)
		const n = 25
		for round := range rounds {
			s.pairs(fmt.Sprint("round ", round, " payment "), n, func(done int64) {
				if done == int64(5+3*round) {
					kill()
					kill = s.startChild(dsn)
				}
			})
		}
		kill()
		if err := s.stopGateway(); err != nil {
			t.Error(err)
		}
		st, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		s.hostStore, s.stopGateway = st, nil
		if a := s.audit(); a.Events != int64(2*n*rounds) || len(a.Custodies) != n*rounds {
			t.Errorf("%d events of %d custodies", a.Events, len(a.Custodies))
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

// startChild starts a host in a process of its own; the result kills it.
func (s *site) startChild(dsn string) (kill func()) {
	s.t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0])
	names := append([]string{s.commands, s.events}, s.cluster.broker.Addresses...)
	cmd.Env = append(os.Environ(), childStore+"="+dsn, childTopics+"="+strings.Join(names, " "))
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !bytes.Equal(lines.Bytes(), []byte("ready")) {
		s.t.Errorf("the child says %q", lines.Text())
	}
	return func() {
		if err := cmd.Process.Kill(); err != nil {
			s.t.Error(err)
		}
		for lines.Scan() {
			s.t.Errorf("the child says %q", lines.Text())
		}
		if err := cmd.Wait(); err == nil {
			s.t.Error(errors.New("the child ended by itself"))
		}
	}
}

// A batch that counts more records than it holds, or whose last records the broker has dropped,
// is passed over by host and gateway, also while nothing follows it: else they would ask for its
// last records again and again, without a pause.
func TestBatchThatEndsBeforeItsCount(t *testing.T) {
	c := embedded(t)
	s := newSite(t, c, ledgertest.NewWorld())
	client, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addresses...), kgo.MaxVersions(kversion.V3_6_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, name := range []string{s.commands, s.events} {
		r := kmsg.Record{Value: []byte("nonsense")}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		b := kmsg.RecordBatch{
			Magic: 2, LastOffsetDelta: 3, NumRecords: 4, Records: r.AppendTo(nil),
			ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		}
		b.Length = int32(49 + len(b.Records))
		partition := kmsg.NewProduceRequestTopicPartition()
		partition.Records = b.AppendTo(nil)
		binary.BigEndian.PutUint32(partition.Records[17:],
			crc32.Checksum(partition.Records[21:], crc32.MakeTable(crc32.Castagnoli)))
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.Partitions = name, append(topic.Partitions, partition)
		request := kmsg.NewPtrProduceRequest()
		request.Acks, request.TimeoutMillis, request.Topics = -1, 1000, append(request.Topics, topic)
		answer, err := client.Broker(0).Request(t.Context(), request)
		if err != nil || answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatal(answer, err)
		}
	}
	for topic, st := range map[string]*store.Store{s.commands: s.hostStore, s.events: s.gatewayStore} {
		s.passes(st, topic)
	}
	p := s.Payment("one", 700, start+20)
	s.must(s.Prepare(p))
	s.must(s.Confirm(s.Bob, p))
	if host, gateway := s.host.Ignored(), s.gateway.Ignored(); host != 1 || gateway != 1 {
		t.Errorf("%d and %d values were ignored", host, gateway)
	}
	if a := s.audit(); a.Events != 2 {
		t.Errorf("%d events", a.Events)
	}
}
