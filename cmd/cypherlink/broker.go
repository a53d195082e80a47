package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// startBroker runs a broker on loopback that keeps its topics in the data folder, and has on disk
// what it has acknowledged: a host forgets what it has published, and a gateway what it has sent.
// It accepts clients with a certificate of the network's authority, and of them only what a broker of Apache
// Kafka accepts of clients that may read and write.
func startBroker(c *ledgerConfig, tls *tls.Config) (*kfake.Cluster, error) {
	_, text, err := net.SplitHostPort(c.Kafka.Bootstrap)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", text, errConfig)
	}
	return guarded(tls, kfake.Ports(port), kfake.SyncWrites(),
		kfake.DataDir(filepath.Join(string(c.Node.Data), "broker")))
}

// guarded starts a broker behind its guards, in the clear without a TLS configuration.
func guarded(t *tls.Config, options ...kfake.Opt) (*kfake.Cluster, error) {
	listen := func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address) //nolint:noctx // kfake's signature
		if err == nil && t != nil {
			l = tls.NewListener(l, t)
		}
		return &framed{l}, err
	}
	c, err := kfake.NewCluster(append(options, kfake.NumBrokers(1), kfake.ListenFn(listen))...)
	if err == nil {
		guard(c)
	}
	return c, err
}

// errFrame means that a request is none that the broker takes.
var errFrame = errors.New("not a request for this broker")

const (
	minFrame = 8       // kind, version and number of a request
	maxFrame = 8 << 20 // several batches
)

// framed lets requests through to the broker, which makes room for 4 GiB if a frame says so, and
// panics at a kind that it does not know.
type framed struct{ net.Listener }

// Accept implements net.Listener.
func (l *framed) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &frames{Conn: c}, nil
}

// frames is a connection that ends with the first frame that is no request.
type frames struct {
	net.Conn
	head  [6]byte // length and kind of a frame
	ahead []byte  // of head, not read yet
	rest  int     // of the frame, behind head
}

// Read implements net.Conn.
func (f *frames) Read(p []byte) (n int, err error) {
	if len(f.ahead) == 0 && f.rest == 0 {
		if _, err := io.ReadFull(f.Conn, f.head[:]); err != nil {
			return 0, err
		}
		size, kind := binary.BigEndian.Uint32(f.head[:]), binary.BigEndian.Uint16(f.head[4:])
		if size < minFrame || size > maxFrame || !served(kmsg.Key(kind)) { //nolint:gosec // its bits
			return 0, fmt.Errorf("%d bytes of kind %d: %w", size, kind, errFrame)
		}
		f.ahead, f.rest = f.head[:], int(size)-2
	}
	if n = copy(p, f.ahead); n > 0 {
		f.ahead = f.ahead[n:]
		return n, nil
	}
	n, err = f.Conn.Read(p[:min(len(p), f.rest)])
	f.rest -= n
	return n, err
}

// served tells whether anybody may ask for it: nobody deletes or changes a topic, since nobody who
// may write to one is the operator.
func served(k kmsg.Key) bool {
	operators := []kmsg.Key{
		kmsg.DeleteTopics, kmsg.DeleteRecords, kmsg.CreatePartitions, kmsg.AlterConfigs,
		kmsg.IncrementalAlterConfigs, kmsg.AlterPartitionAssignments, kmsg.WriteTxnMarkers,
	}
	return kmsg.RequestForKey(k.Int16()) != nil && !slices.Contains(operators, k)
}

// errBatch means that a batch of records is not what its header says.
var errBatch = errors.New("malformed batch of records")

const (
	// maxBatch bounds a batch, uncompressed: the broker's own limit, which it applies to what it
	// is sent.
	maxBatch = 1 << 20
	// maxWindow bounds what a frame of zstd makes its reader hold: what encoders use at most.
	maxWindow = 8 << 20

	codecMask  = 0x07 // in a batch's attributes
	headerSize = 49   // of a batch, in what its length counts
)

// guard makes the broker refuse what Apache Kafka refuses, and it takes as it is: batches whose
// records are not those that their header counts. kafka-go, which reads them in every host and
// gateway, stops at some for ever, and panics or takes memory without bound at others. Compressed
// batches are stored uncompressed.
func guard(c *kfake.Cluster) {
	last := &kmsg.ProduceRequest{}
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		request, ok := r.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		// The broker holds the last request of each connection that ever was.
		last.Topics, last = nil, request
		if err := normal(request); err != nil {
			return refused(request, err.Error()), nil, true
		}
		return nil, nil, false
	})
}

// normal stores every batch in the request uncompressed, or reports errBatch.
func normal(r *kmsg.ProduceRequest) error {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			plain, err := plainBatch(p.Records)
			if err != nil {
				return err
			}
			p.Records = plain
		}
	}
	return nil
}

// refused is the answer that no batch of the request was taken, none if it wants none.
func refused(r *kmsg.ProduceRequest, why string) kmsg.Response {
	if r.Acks == 0 {
		return nil
	}
	answer, _ := r.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range r.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			partition := kmsg.NewProduceResponseTopicPartition()
			partition.Partition, partition.ErrorCode = p.Partition, kerr.InvalidRecord.Code
			partition.ErrorMessage = &why
			topic.Partitions = append(topic.Partitions, partition)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	return answer
}

// plainBatch is the batch uncompressed, if it holds exactly the records that it counts, each in
// its one form; otherwise errBatch.
func plainBatch(raw []byte) ([]byte, error) {
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil || int(b.Length) != len(raw)-12 {
		return nil, fmt.Errorf("header: %w", errBatch)
	}
	if b.CRC != checksum(raw) {
		return nil, fmt.Errorf("checksum: %w", errBatch)
	}
	records, err := expand(b.Attributes&codecMask, b.Records)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBatch, err)
	}
	if err := exactly(int(b.NumRecords), records); err != nil {
		return nil, err
	}
	if b.Attributes&codecMask == 0 {
		return raw, nil
	}
	b.Attributes &^= codecMask
	b.Records, b.Length = records, int32(headerSize+len(records)) //nolint:gosec // at most maxBatch
	plain := b.AppendTo(nil)
	binary.BigEndian.PutUint32(plain[17:], uint32(checksum(plain))) //nolint:gosec // its bits
	return plain, nil
}

// checksum is that of a batch, over all that follows it.
func checksum(raw []byte) int32 {
	return int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli))) //nolint:gosec // its bits
}

// exactly reports errBatch unless b is that many records, and each what it is encoded as: so
// everybody reads the same.
func exactly(count int, b []byte) error {
	if count < 1 {
		return fmt.Errorf("%d records: %w", count, errBatch)
	}
	for i := range count {
		var r kmsg.Record
		err := r.ReadFrom(b)
		one := r.AppendTo(nil)
		length, n := binary.Varint(b)
		if err != nil || int(r.OffsetDelta) != i || int64(len(one)) != int64(n)+length ||
			!bytes.HasPrefix(b, one) {
			return fmt.Errorf("record %d of %d: %w", i, count, errBatch)
		}
		b = b[len(one):]
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes after %d records: %w", len(b), count, errBatch)
	}
	return nil
}

// expand uncompresses at most maxBatch bytes.
func expand(codec int16, b []byte) ([]byte, error) {
	switch c := compress.Compression(codec); c { //nolint:gosec // masked
	case compress.None:
		return b, nil
	case compress.Snappy:
		return expandSnappy(b)
	case compress.Zstd:
		r, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return atMost(r)
	case compress.Gzip, compress.Lz4:
		r := c.Codec().NewReader(bytes.NewReader(b))
		out, err := atMost(r)
		return out, errors.Join(err, r.Close())
	default:
		return nil, fmt.Errorf("codec %d: %w", codec, errBatch)
	}
}

func atMost(r io.Reader) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, maxBatch+1))
	if err == nil && len(out) > maxBatch {
		err = fmt.Errorf("more than %d bytes: %w", maxBatch, errBatch)
	}
	return out, err
}

// xerial begins the blocks of snappy that Java clients send: 16 bytes, and then each block behind
// its length. Other clients send one block alone.
const xerial = "\x82SNAPPY\x00"

func expandSnappy(b []byte) ([]byte, error) {
	if len(b) < 16 || !bytes.HasPrefix(b, []byte(xerial)) {
		return appendBlock(nil, b)
	}
	var out []byte
	var err error
	for b = b[16:]; len(b) > 0 && err == nil; {
		if len(b) < 4 || int64(binary.BigEndian.Uint32(b)) > int64(len(b)-4) {
			return nil, fmt.Errorf("block of snappy: %w", errBatch)
		}
		n := 4 + int(binary.BigEndian.Uint32(b))
		out, err = appendBlock(out, b[4:n])
		b = b[n:]
	}
	return out, err
}

// appendBlock asks a block how long it is before it makes room for it.
func appendBlock(out, block []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	if n > maxBatch-len(out) {
		return nil, fmt.Errorf("more than %d bytes: %w", maxBatch, errBatch)
	}
	plain, err := snappy.Decode(nil, block)
	return append(out, plain...), err
}
