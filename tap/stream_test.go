package tap

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
)

// heard is one server-sent event.
type heard struct{ name, id, data string }

// listener reads a stream of server-sent events as a browser does.
type listener struct {
	body io.ReadCloser
	scan *bufio.Scanner
	end  context.CancelFunc
}

// listen opens the stream of a path; a Last-Event-ID that is empty is not sent.
func (s *served) listen(client *http.Client, path, lastID string) (*listener, reply) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := client.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		b, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			s.Fatal(err)
		}
		cancel()
		return nil, reply{res, b}
	}
	scan := bufio.NewScanner(res.Body)
	scan.Buffer(nil, MaxLine)
	return &listener{res.Body, scan, cancel}, reply{Response: res}
}

// next is the next event; ok is false at the end of the stream.
func (l *listener) next() (h heard, ok bool) {
	for l.scan.Scan() {
		name, value, _ := strings.Cut(l.scan.Text(), ": ")
		switch name {
		case "event":
			h.name = value
		case "id":
			h.id = value
		case "data":
			h.data = value
		case "":
			if h.name != "" {
				return h, true
			}
		}
	}
	return h, false
}

func (l *listener) close() {
	l.end()
	_ = l.body.Close()
}

// A stream has every record once, in order, with its number as id, also those that come while it
// is open, and a head whenever the chain moves.
func TestStream(t *testing.T) {
	w := newTown(t)
	w.block(t, 3)
	f := w.following(t, w)
	s := serve(t, f, func(o *Options) { o.Heartbeat = time.Hour })
	l, _ := s.listen(s.client, "/v1/stream", "")
	defer l.close()
	c := newCheck(t, w, Checkpoint{})
	seen := uint64(0)
	for want := uint64(3); want <= 9; want += 2 {
		for head := (Head{}); head.FeedSize < want; {
			h, ok := l.next()
			if !ok {
				t.Fatal("the stream ended")
			}
			if h.name == "record" {
				if seen++; h.id != strconv.FormatUint(seen, 10) {
					t.Fatalf("id %s after %d records", h.id, seen)
				}
			} else if err := decode([]byte(h.data), &head); h.name != "head" || h.id != "" || err != nil {
				t.Fatalf("%+v, %v", h, err)
			}
			c.Line([]byte(h.data))
		}
		w.block(t, 2)
	}
	if r := c.Report(); len(r.Faults) > 0 || r.Checkpoint.Size != 9 {
		t.Fatal(told(r))
	}
}

// Whatever the moments at which a reader loses his connection, and whatever of what he has read he
// remembers as his last, after he resumed he has every record once.
func TestResumptionIsExact(t *testing.T) {
	w := newTown(t)
	for range 10 {
		w.block(t, 3)
	}
	f := w.following(t, w)
	s := serve(t, f, func(o *Options) {
		o.Heartbeat = 5 * time.Millisecond
		o.StreamsEach, o.Streams, o.Connections = 1000, 1000, 1000 // some have not ended when the next one begins
	})
	rapid.Check(t, func(rt *rapid.T) {
		end := w.state.Header().Roots.FeedSize
		c := newCheck(t, w, Checkpoint{})
		last, query := "", rapid.SampledFrom([]string{"", "?after=0"}).Draw(rt, "query")
		for got := uint64(0); got < end; {
			l, _ := s.listen(s.client, "/v1/stream"+query, last)
			for left := rapid.IntRange(0, 12).Draw(rt, "events until the connection is lost"); left > 0; left-- {
				h, ok := l.next()
				if !ok {
					rt.Fatal("the stream ended")
				}
				c.Line([]byte(h.data))
				if h.name == "record" {
					last = h.id
					got++
				}
				if got == end {
					break
				}
			}
			l.close()
			if rapid.IntRange(0, 9).Draw(rt, "a block meanwhile") == 0 && end < 300 {
				w.block(t, 1)
				end++
			}
		}
		if r := c.Report(); len(r.Faults) > 0 && told(r) != fmt.Sprintf("dropped %d", end) {
			rt.Fatal(told(r))
		}
		if c.due != end+1 {
			rt.Fatalf("%d of %d records", c.due-1, end)
		}
	})
}

// One reader, and all of them, have so many streams at a time. One that ends makes room.
func TestStreamsAtATime(t *testing.T) {
	s := serve(t, &still{}, func(o *Options) { o.StreamsEach, o.Streams, o.Heartbeat = 2, 3, time.Millisecond })
	one, two := s.client, s.reader()
	var open []*listener
	for _, client := range []*http.Client{one, one, two} {
		l, _ := s.listen(client, "/v1/stream", "")
		if l == nil {
			t.Fatal("a stream within the limits is refused")
		}
		open = append(open, l)
	}
	for _, client := range []*http.Client{one, two} {
		l, a := s.listen(client, "/v1/stream", "")
		if l != nil || a.problem(t).Code != CodeStreams || a.StatusCode != http.StatusTooManyRequests {
			t.Fatalf("%+v", a)
		}
	}
	open[0].close()
	for deadline := time.Now().Add(time.Minute); ; {
		l, _ := s.listen(one, "/v1/stream", "")
		if l != nil {
			open[0] = l
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a stream that has ended leaves no room")
		}
	}
	for _, l := range open {
		l.close()
	}
}

// T4: while the chain stands still the stream says so: the same head, ever older.
func TestHeartbeat(t *testing.T) {
	w := newTown(t)
	w.block(t, 1)
	f := w.following(t, w)
	w.reach(t, f)
	s := serve(t, f, func(o *Options) { o.Heartbeat = time.Millisecond })
	l, _ := s.listen(s.client, "/v1/stream", "1")
	defer l.close()
	c := newCheck(t, w, Checkpoint{Size: 1, Peaks: againPeaks(t, f)})
	for range 5 {
		h, ok := l.next()
		var head Head
		if err := decode([]byte(h.data), &head); !ok || h.name != "head" || err != nil || head.Height != 1 {
			t.Fatalf("%+v", h)
		}
		c.Head(&head)
		if age := head.Age(time.UnixMilli(w.now()).Add(31 * time.Second)); age != 31*time.Second {
			t.Fatal(age)
		}
	}
	if r := c.Report(); len(r.Faults) > 0 {
		t.Fatal(told(r))
	}
}

// againPeaks are those of a feed of one event.
func againPeaks(t *testing.T, f Feed) []cypherlink.Hash {
	t.Helper()
	return (Checkpoint{}).add(records(t, f)[0].Event).Peaks
}

// The end of the process ends the streams at once, and the reader sees an end, no error.
func TestStreamsEndWithTheProcess(t *testing.T) {
	s := serve(t, &still{}, func(o *Options) { o.Draining = time.Minute })
	l, _ := s.listen(s.client, "/v1/stream", "")
	defer l.close()
	if h, ok := l.next(); !ok || h.name != "head" {
		t.Fatalf("%+v", h)
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if h, ok := l.next(); ok || l.scan.Err() != nil {
		t.Fatalf("%+v, %v", h, l.scan.Err())
	}
}

// pipes is a net.Listener whose connections have no buffer: who does not read is seen at once.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// counted is a feed that counts what it was asked for.
type counted struct {
	*repeating
	mu    sync.Mutex
	asked int
}

func (c *counted) Entry(ctx context.Context, index uint64) (follow.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.repeating.Entry(ctx, index)
}

func (c *counted) number() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// piped serves within a bubble, and gives what a reader of the stream reads. end is of the server.
func piped(t *testing.T, feed Feed, change func(*Options)) (in *bufio.Reader, end func()) {
	t.Helper()
	a := newAuthority(t)
	o := options(t, a, feed)
	change(&o)
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, p, o) }()
	theirs, ours := net.Pipe()
	p.conns <- ours
	conn := tls.Client(theirs, &tls.Config{
		RootCAs: a.pool(), Certificates: []tls.Certificate{a.issue(t)}, ServerName: "127.0.0.1",
	})
	go func() { _, _ = io.WriteString(conn, "GET /v1/stream HTTP/1.1\r\nHost: tap\r\n\r\n") }()
	return bufio.NewReader(conn), func() {
		cancel()
		if err := errors.Join(<-done, theirs.Close()); err != nil {
			t.Error(err)
		}
	}
}

// untilData reads to the end of the next line of data.
func untilData(t *testing.T, in *bufio.Reader) {
	t.Helper()
	for text := ""; !strings.HasPrefix(text, "data: "); {
		var err error
		if text, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

// A stream goes on for longer than a request may take to arrive, and to be answered.
func TestAStreamOutlivesARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, end := piped(t, &still{}, func(o *Options) { o.Heartbeat = 5 * time.Second })
		began := time.Now()
		for range 20 {
			untilData(t, in)
		}
		if took := time.Since(began); took != 95*time.Second {
			t.Error(took)
		}
		end()
	})
}

// A reader who does not read is dropped after Patience, and until then next to nothing is read for
// him from the store; who reads slowly but within it is not.
func TestASlowReaderIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.block(t, 3)
		f := w.following(t, w)
		w.reach(t, f)
		feed := &counted{repeating: &repeating{Feed: f, size: 1 << 40}}
		const patience = 10 * time.Second
		in, end := piped(t, feed, func(o *Options) { o.Patience = patience })
		for range 20 {
			untilData(t, in)
			time.Sleep(4 * time.Second)
		}
		asked := feed.number()
		began := time.Now()
		// The rest is what was on its way; then the connection is at its end.
		time.Sleep(patience + time.Second)
		rest, err := io.ReadAll(io.LimitReader(in, 1<<20))
		if time.Since(began) > patience+2*time.Second || len(rest) > 64<<10 {
			t.Errorf("after %s %d bytes, %v", time.Since(began), len(rest), err)
		}
		if more := feed.number() - asked; more > 4 {
			t.Errorf("%d records were read for who does not read", more)
		}
		end()
	})
}

// BenchmarkDelay is the time from a block's being final at a member to a reader's having its
// record, over loopback and TLS: the follower fetches, verifies and executes it between. One
// operation is one block of one event.
func BenchmarkDelay(b *testing.B) {
	w := newTown(b)
	f := w.following(b, w)
	s := serve(b, f, func(*Options) {})
	l, _ := s.listen(s.client, "/v1/stream", "")
	defer l.close()
	var waits []time.Duration
	for range b.N {
		w.block(b, 1)
		for {
			h, ok := l.next()
			if !ok {
				b.Fatal("the stream ended")
			}
			if h.name == "record" {
				break
			}
		}
		waits = append(waits, time.Since(w.finalAt))
	}
	b.StopTimer()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
}
