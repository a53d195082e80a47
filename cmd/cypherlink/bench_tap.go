package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/tap"
)

// benchTap measures how long after a block is final at the first member a reader of the regulator's tap
// has its records. The network and the tap are in this process; the reader streams over TLS. The events
// are fundings of a channel, one after the other.
type benchTap struct {
	Records int `help:"How many events." default:"300"`
}

// Run measures.
func (c *benchTap) Run(s *session) error {
	if c.Records < 1 {
		return refusal{errors.New("there is at least one event")}
	}
	return inFolder(func(dir string, logs io.Writer) error { return c.run(s, dir, logs) })
}

func (c *benchTap) run(s *session, dir string, logs io.Writer) (err error) {
	t, folder := newTraffic(over), filepath.Join(dir, "net")
	if err := t.raise(s, folder, logs, t.watch); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	copied, serve, err := openTap(s, folder, slog.New(slog.NewJSONHandler(logs, nil)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	ctx, cancel := context.WithCancel(s)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return copied.follow.Run(ctx) })
	group.Go(func() error { return serve(ctx) })
	blocks := &finalities{at: map[uint64]time.Time{}, changed: make(chan struct{})}
	for _, m := range copied.members {
		group.Go(func() error { return blocks.watch(ctx, m, 1) })
	}
	records := make(chan sighting, c.Records)
	group.Go(func() error { return readTap(ctx, folder, records) })
	var all times
	group.Go(func() (err error) {
		defer cancel()
		all, err = t.delays(ctx, c.Records, records, blocks, newProgress(s.log, "events", c.Records))
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "From a block's being final at a member to a tap's reader, all parts in one process, on %s\n\n",
		hardware())
	return printTable(s.out, [][]string{
		{"events", "p50 ms", "p99 ms"}, {strconv.Itoa(len(all)), all.ms(50), all.ms(99)},
	})
}

// openTap opens the tap of a network's folder as its own binary does: its copy of the chain, and what serves
// its readers until its context ends.
func openTap(ctx context.Context, dir string, log *slog.Logger) (*chainCopy, func(context.Context) error, error) {
	c, err := tap.LoadConfig(filepath.Join(dir, folderTap, configName))
	if err != nil {
		return nil, nil, err
	}
	raw, err := os.ReadFile(c.Genesis)
	if err != nil {
		return nil, nil, err
	}
	k := &keys{}
	if k.genesis, err = chain.ParseGenesis(raw); err != nil {
		return nil, nil, err
	}
	if k.tls, err = peer.LoadIdentity(c.TLSCert, c.TLSKey); err != nil {
		return nil, nil, err
	}
	o := tap.DefaultOptions()
	if o.TLS, err = c.TLS(); err != nil {
		return nil, nil, err
	}
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, nil, err
	}
	copied, err := openChainCopy(&node{Data: path(c.Data), Peers: c.Members}, k, log)
	if err != nil {
		return nil, nil, errors.Join(err, socket.Close())
	}
	o.Feed, o.Log = copied.follow, log
	return copied, func(ctx context.Context) error { return tap.Serve(ctx, socket, o) }, nil
}

// finalities are when each block was final first, as the members answer.
type finalities struct {
	mu      sync.Mutex
	at      map[uint64]time.Time
	changed chan struct{} // closed, and replaced, when there is another
}

// watch asks a member for one block after the other, from a height on, until ctx ends.
func (f *finalities) watch(ctx context.Context, m follow.Source, height uint64) error {
	for ctx.Err() == nil {
		blocks, err := m.Fetch(ctx, follow.Fetch{From: height, WaitMS: follow.MaxWaitMS})
		now := time.Now()
		if err != nil {
			if ctx.Err() == nil {
				return err
			}
			break
		}
		f.mu.Lock()
		for i := range blocks.Blocks {
			height = blocks.Blocks[i].Block.Header.Height
			if _, known := f.at[height]; !known {
				f.at[height] = now
			}
			height++
		}
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
	}
	return nil
}

// of is when a block was final.
func (f *finalities) of(ctx context.Context, height uint64) (time.Time, error) {
	for {
		f.mu.Lock()
		at, known := f.at[height]
		changed := f.changed
		f.mu.Unlock()
		if known {
			return at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return at, context.Cause(ctx)
		}
	}
}

// sighting is when a reader had a record of a block.
type sighting struct {
	height uint64
	at     time.Time
}

// delays puts a cent into the first channel, again and again, and says how long it took from the finality of
// each such event to its reader.
func (t *traffic) delays(
	ctx context.Context, n int, records <-chan sighting, blocks *finalities, bar *progress,
) (times, error) {
	// What was there before comes first.
	bank, _ := t.stage.plays[folderA].process.(*connectProcess)
	for known := bank.follow.Head().Roots.FeedSize; known > 0; known-- {
		select {
		case <-records:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	var all times
	for i := range n {
		where, key := "/v1/channels/"+t.channels[0]+"/fund", fmt.Sprint("bench-fund-", i)
		if err := t.banks[0].post(ctx, where, key, api.ChannelAmount{Amount: "0.01"}, nil); err != nil {
			return nil, err
		}
		select {
		case r := <-records:
			final, err := blocks.of(ctx, r.height)
			if err != nil {
				return nil, err
			}
			all = append(all, r.at.Sub(final))
			bar.step()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return all, nil
}

// readTap streams a network's tap from its first record on, as the regulator's reader, until ctx ends.
func readTap(ctx context.Context, dir string, records chan<- sighting) error {
	pairs, err := tapEnvironment(dir)
	if err != nil {
		return err
	}
	env := map[string]string{}
	for _, pair := range pairs {
		env[pair[0]] = pair[1]
	}
	config, err := tlsFiles{
		Cert: path(env["TAP_CERT"]), Key: path(env["TAP_KEY"]), CA: path(env["TAP_CA"]),
	}.config()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, env["TAP"]+"/v1/stream", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	err = errors.Join(sight(ctx, answer.Body, records), answer.Body.Close())
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// maxTapEvent bounds a line of a tap's stream.
const maxTapEvent = 1 << 20

// sight gives each record of a stream as it comes.
func sight(ctx context.Context, stream io.Reader, records chan<- sighting) error {
	lines, record := bufio.NewScanner(stream), false
	lines.Buffer(nil, maxTapEvent)
	for lines.Scan() {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(": "))
		switch {
		case string(name) == "event":
			record = string(value) == "record"
		case string(name) == "data" && record:
			s := sighting{at: time.Now()}
			var r struct {
				Height uint64 `json:"height"`
			}
			if err := json.Unmarshal(value, &r); err != nil {
				return err
			}
			s.height = r.Height
			select {
			case records <- s:
			case <-ctx.Done():
				return nil
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return errors.New("the tap's stream has ended")
}
