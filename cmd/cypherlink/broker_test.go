package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// broker is the embedded broker with one topic, and a client that sends it anything.
type broker struct {
	t      *testing.T
	addrs  []string
	client *kgo.Client
}

const brokerTopic = "topic"

func newBroker(t *testing.T) *broker {
	t.Helper()
	c, err := guarded(nil, kfake.Ports(0), kfake.SeedTopics(1, brokerTopic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	b := &broker{t: t, addrs: c.ListenAddrs()}
	b.client = b.dial()
	return b
}

// dial makes a client whose requests name topics, not their ids.
func (b *broker) dial(options ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(b.addrs...),
		kgo.MaxVersions(kversion.V3_6_0()), kgo.DefaultProduceTopic(brokerTopic))...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	return client
}

// produce sends a batch as it is, and gives the broker's answer.
func (b *broker) produce(raw []byte) int16 {
	b.t.Helper()
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = raw
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = brokerTopic, append(topic.Partitions, partition)
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis, request.Topics = -1, 1000, append(request.Topics, topic)
	answer, err := b.client.Broker(0).Request(b.t.Context(), request)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
}

// values are what kafka-go reads of the topic, which holds n records.
func (b *broker) values(n int) (values []string) {
	b.t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: b.addrs, Topic: brokerTopic, MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 50 * time.Millisecond,
	})
	for len(values) < n {
		m, err := r.ReadMessage(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		values = append(values, string(m.Value))
	}
	if err := r.Close(); err != nil {
		b.t.Fatal(err)
	}
	return values
}

// recordOf is the encoding of a record.
func recordOf(i int, value string) []byte {
	r := kmsg.Record{OffsetDelta: int32(i), Value: []byte(value)}
	r.Length = int32(len(r.AppendTo(nil)) - 1) // of the length 0, one byte
	return r.AppendTo(nil)
}

// batchOf is a batch that says that it has that many records, with a right checksum.
func batchOf(count int32, codec int16, records []byte) []byte {
	b := kmsg.RecordBatch{
		Length: int32(49 + len(records)), Magic: 2, Attributes: codec, LastOffsetDelta: count - 1,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: count, Records: records,
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // into memory
	_ = w.Close()
	return out.Bytes()
}

// What any client of Kafka sends is taken, whatever it compresses with.
func TestTheBrokerTakesWhatClientsSend(t *testing.T) {
	b := newBroker(t)
	var want []string
	value := func(name string) string {
		want = append(want, name+" "+string(bytes.Repeat([]byte{'x'}, 3000)))
		return want[len(want)-1]
	}
	for _, codec := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		w := kafka.Writer{Addr: kafka.TCP(b.addrs...), Topic: brokerTopic, Compression: codec, BatchTimeout: 1}
		var messages []kafka.Message
		for i := range 3 {
			messages = append(messages, kafka.Message{Value: []byte(value(fmt.Sprint("kafka-go ", codec, i)))})
		}
		if err := w.WriteMessages(t.Context(), messages...); err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(),
		kgo.ZstdCompression(),
	} {
		c := b.dial(kgo.ProducerBatchCompression(codec))
		err := c.ProduceSync(t.Context(), &kgo.Record{
			Value: []byte(value(fmt.Sprint("franz-go ", i))), Headers: []kgo.RecordHeader{{Key: "k", Value: nil}},
		}).FirstErr()
		if err != nil {
			t.Fatalf("codec %d: %v", i, err)
		}
	}
	for i, got := range b.values(len(want)) {
		if got != want[i] {
			t.Fatalf("record %d: %.20q, want %.20q", i, got, want[i])
		}
	}
}

// What would stop whoever reads it is refused, and whoever reads goes on.
func TestTheBrokerRefusesWhatNobodyCanRead(t *testing.T) {
	b := newBroker(t)
	one, two := recordOf(0, "one"), recordOf(1, "two")
	both := append(bytes.Clone(one), two...)
	slack := recordOf(0, "slack")
	slack[0] += 2 // one byte more, which no field takes
	headers := append(bytes.Clone(one[:len(one)-1]), binary.AppendVarint(nil, math.MaxInt32)...)
	headers[0] += 8
	damaged := batchOf(2, 0, both)
	damaged[len(damaged)-3] ^= 1
	claim := binary.AppendUvarint(nil, math.MaxUint32) // the length of a block of snappy
	framed := append([]byte("\x82SNAPPY\x00"), make([]byte, 8)...)
	// A frame of zstd: magic number, a window of 1 GiB, one empty last block.
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00}
	for _, tt := range []struct {
		name string
		raw  []byte
	}{
		{"nothing", nil},
		{"a header alone", batchOf(1, 0, nil)},
		{"no records", batchOf(0, 0, nil)},
		{"more records than it holds", batchOf(3, 0, both)},
		{"fewer records than it holds", batchOf(1, 0, both)},
		{"less than none", batchOf(-1, 0, both)},
		{"as many as an array cannot have", batchOf(math.MaxInt32, 0, both)},
		{"bytes after the last record", batchOf(2, 0, append(bytes.Clone(both), 0))},
		{"a record cut short", batchOf(2, 0, both[:len(both)-1])},
		{"a record that says it is longer", batchOf(1, 0, append(slack, 0))},
		{"a record of two billion headers", batchOf(1, 0, headers)},
		{"records in another order", batchOf(2, 0, append(bytes.Clone(two), one...))},
		{"a wrong checksum", damaged},
		{"nonsense for gzip", batchOf(2, 1, both)},
		{"nonsense for snappy", batchOf(2, 2, both)},
		{"nonsense for lz4", batchOf(2, 3, both)},
		{"nonsense for zstd", batchOf(2, 4, both)},
		{"a codec that nobody knows", batchOf(2, 5, both)},
		{"64 MiB in 64 KiB", batchOf(1, 1, gzipped(recordOf(0, string(make([]byte, 64<<20)))))},
		{"4 GiB in a block of snappy", batchOf(1, 2, claim)},
		{"4 GiB in a block of blocks", batchOf(1, 2, append(bytes.Clone(framed), 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f))},
		{"a block of 4 GiB", batchOf(1, 2, append(bytes.Clone(framed), 0xff, 0xff, 0xff, 0xff))},
		{"a window of 1 GiB", batchOf(1, 4, window)},
	} {
		if code := b.produce(tt.raw); code != kerr.InvalidRecord.Code {
			t.Errorf("%s: %v", tt.name, kerr.ErrorForCode(code))
		}
	}
	if code := b.produce(batchOf(2, 0, both)); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	if got := b.values(2); got[0] != "one" || got[1] != "two" {
		t.Errorf("%q", got)
	}
}

// No frame ends the broker: neither one of a kind that nobody knows, nor one that says it is 4 GiB
// long, nor nonsense in a request of any kind and version.
func TestTheBrokerOutlivesEveryFrame(t *testing.T) {
	b := newBroker(t)
	send := func(frame []byte) {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
		_, _ = conn.Write(frame)
		_, _ = conn.Read(make([]byte, 4)) // an answer, or the end
		_ = conn.Close()
	}
	frame := func(size uint32, kind, version uint16, body []byte) []byte {
		f := binary.BigEndian.AppendUint32(nil, size)
		f = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(f, kind), version)
		return append(append(f, 0, 0, 0, 1, 0xff, 0xff), body...)
	}
	whole := func(kind, version uint16, body []byte) []byte {
		return frame(uint32(10+len(body)), kind, version, body)
	}
	send(frame(math.MaxUint32, 0, 0, nil))
	send(frame(0, 0, 0, nil))
	send(frame(4, 9999, 0, nil))
	nonsense := [][]byte{nil, make([]byte, 200), bytes.Repeat([]byte{0xff}, 200), bytes.Repeat([]byte{0x7f}, 200)}
	if testing.Short() {
		nonsense = nonsense[:2]
	}
	var all sync.WaitGroup
	for _, version := range []uint16{0, 4, 9, math.MaxInt16, math.MaxUint16} {
		for kind := range uint16(100) {
			all.Go(func() {
				for _, body := range nonsense {
					send(whole(kind, version, body))
				}
			})
		}
		all.Wait()
	}
	send(whole(9999, 0, make([]byte, 20)))
	if code := b.produce(batchOf(1, 0, recordOf(0, "after"))); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	if got := b.values(1); got[0] != "after" {
		t.Errorf("%q", got)
	}
}

// Whoever may write to a topic may not delete it, what is in it, or what it is.
func TestTheBrokerKeepsItsTopics(t *testing.T) {
	b := newBroker(t)
	if code := b.produce(batchOf(1, 0, recordOf(0, "kept"))); code != 0 {
		t.Fatal(kerr.ErrorForCode(code))
	}
	topics := kmsg.NewPtrDeleteTopicsRequest()
	topics.TopicNames, topics.TimeoutMillis = []string{brokerTopic}, 1000
	records := kmsg.NewPtrDeleteRecordsRequest()
	records.Topics = []kmsg.DeleteRecordsRequestTopic{{
		Topic: brokerTopic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 1}},
	}}
	partitions := kmsg.NewPtrCreatePartitionsRequest()
	partitions.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: brokerTopic, Count: 2}}
	for _, r := range []kmsg.Request{topics, records, partitions} {
		if _, err := b.client.Broker(0).Request(t.Context(), r); err == nil {
			t.Errorf("%T was answered", r)
		}
	}
	if got := b.values(1); got[0] != "kept" {
		t.Errorf("%q", got)
	}
	metadata := kmsg.NewPtrMetadataRequest()
	answer, err := metadata.RequestWith(t.Context(), b.client)
	if err != nil || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		t.Errorf("%+v, %v", answer, err)
	}
}
