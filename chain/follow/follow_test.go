package follow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const start = chaintest.Start / 1000

// committee makes final blocks without consensus, and serves them as honest members do.
type committee struct {
	*chaintest.Network
	state *state.State
	qc    chain.QC

	mu      sync.Mutex
	blocks  []follow.FinalBlock
	changed chan struct{}
}

// network is that of chaintest.New, which takes a while to make and does not change.
func network(t testing.TB) *chaintest.Network {
	t.Helper()
	onlyOnce.Do(func() { theNetwork = chaintest.New(t, nil) })
	n := *theNetwork
	return &n
}

var (
	onlyOnce   sync.Once
	theNetwork *chaintest.Network
)

func newCommittee(t testing.TB) *committee {
	t.Helper()
	n := network(t)
	s, err := state.Open(state.NewMemory(), n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	n.SetRoots(t, s.Header().Roots)
	return &committee{Network: n, state: s, qc: n.Committee.Genesis(), changed: make(chan struct{})}
}

// block makes a block of commands that succeed, at seconds after the genesis.
func (c *committee) block(t testing.TB, seconds int64, commands ...*ledger.SignedCommand) chain.Header {
	t.Helper()
	var bodies []state.Body
	for _, command := range commands {
		bodies = append(bodies, state.Command{Signed: command})
	}
	return c.blockOf(t, seconds, bodies...)
}

// blockOf is block of transactions with any bodies.
func (c *committee) blockOf(t testing.TB, seconds int64, bodies ...state.Body) chain.Header {
	t.Helper()
	var txs []*state.Transaction
	for _, body := range bodies {
		txs = append(txs, state.NewTransaction(body))
	}
	at := (start + seconds) * 1000
	built, err := c.state.Build(c.state.Final(), c.state.Header().Height+1, at, txs)
	if err != nil || len(built.LeftOut) > 0 {
		t.Fatalf("%v, left out %v", err, built.LeftOut)
	}
	b := c.Block(c.qc, at, built.Payload, built.Version.Roots())
	c.add(t, b)
	if err := c.state.Commit(built.Version, state.Final{Block: b, Proof: c.last().Proof}); err != nil {
		t.Fatal(err)
	}
	return b.Header
}

// add certifies a block, valid or not, and serves it.
func (c *committee) add(t testing.TB, b chain.Block) {
	t.Helper()
	c.qc = c.Certify(t, b.Header)
	child := c.Block(c.qc, b.Header.TimeMS+1, nil, b.Header.Roots)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks = append(c.blocks, follow.FinalBlock{Block: b, Proof: chain.FinalityProof{
		Headers: []chain.Header{b.Header, child.Header}, QC: c.Certify(t, child.Header),
	}})
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *committee) last() follow.FinalBlock { return c.blocks[len(c.blocks)-1] }

// answer waits for the block that is asked for, and gives at most four.
func (c *committee) answer(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
	timer := time.NewTimer(time.Duration(call.WaitMS) * time.Millisecond)
	defer timer.Stop()
	for {
		c.mu.Lock()
		head, changed := uint64(len(c.blocks)), c.changed
		var blocks []follow.FinalBlock
		if call.From <= head {
			blocks = append(blocks, c.blocks[call.From-1:min(head, call.From+3)]...)
		}
		c.mu.Unlock()
		if len(blocks) > 0 {
			return follow.Blocks{Head: head, Blocks: blocks}, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return follow.Blocks{Head: head}, nil
		case <-ctx.Done():
			return follow.Blocks{}, ctx.Err()
		}
	}
}

type answerer = func(ctx context.Context, call follow.Fetch) (follow.Blocks, error)

// source answers as answer says, and counts how often it was asked.
type source struct {
	name   string
	answer func(ctx context.Context, call follow.Fetch) (follow.Blocks, error)
	mu     sync.Mutex
	asked  int
}

func (s *source) Name() string { return s.name }

func (s *source) Fetch(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	b, err := s.answer(ctx, call)
	if err != nil {
		return b, err
	}
	return follow.DecodeBlocks(b.Encode())
}

func (c *committee) honest() *source { return &source{name: "honest", answer: c.answer} }

func (c *committee) options(store state.Store, sources ...*source) follow.Options {
	o := follow.DefaultOptions(c.Genesis)
	o.Store, o.Log = store, slog.New(slog.DiscardHandler)
	for _, s := range sources {
		o.Sources = append(o.Sources, s)
	}
	return o
}

// following runs a follower until the test ends or stop is called; the returned error is
// Run's.
func following(t *testing.T, o follow.Options) (f *follow.Follower, stop func() error) {
	t.Helper()
	f, err := follow.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return f, stop
}

// reach waits until the follower is at a height.
func reach(t *testing.T, f *follow.Follower, height uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		changed := f.Changed()
		if f.Head().Height >= height {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("at height %d, want %d; dropped %v", f.Head().Height, height, f.Dropped())
		}
	}
}

func inBubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

func TestFollow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		w := c.World
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		p := w.Payment("one", 100, start+60)
		c.block(t, 1, w.Prepare(p))
		want := c.block(t, 2, w.Confirm(w.Bob, p))
		reach(t, f, 2)
		if f.Head() != want {
			t.Fatalf("head %+v", f.Head())
		}
		amount, ok, err := f.Balance(ledgertest.Account(w.Bob), w.Asset)
		if err != nil || !ok || amount != ledgertest.Opening+100 {
			t.Fatalf("%d, %t, %v", amount, ok, err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A follower that was away catches up, and one that was stopped amid that goes on where it was.
func TestCatchUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		for i := range 30 {
			pay := c.World.Payment(fmt.Sprint(i), 1, start+900)
			c.block(t, int64(i+1), c.World.Prepare(pay))
		}
		store := state.NewMemory()
		for height := uint64(4); height <= 28; height += 8 {
			f, stop := following(t, c.options(store, c.honest()))
			reach(t, f, height)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
		f, _ := following(t, c.options(store, c.honest()))
		reach(t, f, 30)
		if f.Head() != c.state.Header() {
			t.Fatal("the follower is elsewhere")
		}
	})
}

// Every lie is found out, its teller asked no more, and the truth comes from another source.
func TestLiars(t *testing.T) {
	edits := map[string]func(c *committee, b *follow.Blocks){
		"another time": func(_ *committee, b *follow.Blocks) { b.Blocks[0].Block.Header.TimeMS++ },
		"another state root": func(_ *committee, b *follow.Blocks) {
			b.Blocks[0].Block.Header.Roots.State[0] ^= 1
		},
		"another payload": func(_ *committee, b *follow.Blocks) {
			b.Blocks[0].Block.Payload = append(chain.Payload{{1}}, b.Blocks[0].Block.Payload...)
		},
		"no payload": func(_ *committee, b *follow.Blocks) { b.Blocks[0].Block.Payload = nil },
		"a later block": func(_ *committee, b *follow.Blocks) {
			b.Blocks = b.Blocks[1:]
		},
		"one block twice": func(_ *committee, b *follow.Blocks) { b.Blocks[1] = b.Blocks[0] },
		"the proof of another block": func(_ *committee, b *follow.Blocks) {
			b.Blocks[len(b.Blocks)-1].Proof = b.Blocks[0].Proof
		},
		"a proof without its QC's bitmap": func(_ *committee, b *follow.Blocks) {
			b.Blocks[len(b.Blocks)-1].Proof.QC.Votes.Bitmap = nil
		},
		"a proof by two members": func(c *committee, b *follow.Blocks) {
			b.Blocks[len(b.Blocks)-1].Proof.QC.Votes.Bitmap = []byte{3}
		},
		"a proof cut to one header": func(c *committee, b *follow.Blocks) {
			p := &b.Blocks[len(b.Blocks)-1].Proof
			p.Headers, p.QC = p.Headers[:1], c.qc
		},
		"a wrong signature": func(_ *committee, b *follow.Blocks) {
			b.Blocks[len(b.Blocks)-1].Proof.QC.Votes.Signature[20] ^= 1
		},
		"no proof": func(_ *committee, b *follow.Blocks) {
			b.Blocks[len(b.Blocks)-1].Proof = chain.FinalityProof{}
		},
	}
	c := newCommittee(t)
	for i := range 3 {
		c.block(t, int64(i+1), c.World.Prepare(c.World.Payment(fmt.Sprint(i), 1, start+900)))
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c.changed = make(chan struct{}) // of this bubble
				liar := &source{name: "liar"}
				liar.answer = func(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
					b, err := c.answer(ctx, call)
					if err == nil && len(b.Blocks) == 3 {
						edit(c, &b)
					}
					return b, err
				}
				f, stop := following(t, c.options(state.NewMemory(), liar, c.honest()))
				reach(t, f, 3)
				d := f.Dropped()
				if f.Head() != c.state.Header() || len(d) != 1 || d[0].Source != "liar" || liar.asked != 1 {
					t.Fatalf("dropped %v, the liar was asked %d times", d, liar.asked)
				}
				if err := stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestAnswerThatIsNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		c.block(t, 1)
		liar := &source{name: "liar", answer: func(context.Context, follow.Fetch) (follow.Blocks, error) {
			return follow.Blocks{}, fmt.Errorf("garbage: %w", follow.ErrMessage)
		}}
		f, stop := following(t, c.options(state.NewMemory(), liar))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		<-ctx.Done()
		if err := stop(); !errors.Is(err, follow.ErrNoSource) || f.Head().Height != 0 {
			t.Fatalf("%v", err)
		}
	})
}

// A source that keeps blocks back, or does not answer, does not hold anybody up for long.
func TestStallers(t *testing.T) {
	kinds := map[string]func(c *committee) answerer{
		"says that there is nothing": func(*committee) answerer {
			return func(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
				time.Sleep(time.Duration(call.WaitMS) * time.Millisecond)
				return follow.Blocks{}, nil
			}
		},
		"says so at once": func(*committee) answerer {
			return func(context.Context, follow.Fetch) (follow.Blocks, error) { return follow.Blocks{}, nil }
		},
		"never answers": func(*committee) answerer {
			return func(ctx context.Context, _ follow.Fetch) (follow.Blocks, error) {
				<-ctx.Done()
				return follow.Blocks{}, ctx.Err()
			}
		},
		"cannot be reached": func(*committee) answerer {
			return func(context.Context, follow.Fetch) (follow.Blocks, error) {
				return follow.Blocks{}, errors.New("connection refused")
			}
		},
		"is late with every block": func(c *committee) answerer {
			return func(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
				time.Sleep(time.Duration(call.WaitMS) * time.Millisecond * 9 / 10)
				return c.answer(ctx, call)
			}
		},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c := newCommittee(t)
				staller := &source{name: "staller", answer: kind(c)}
				o := c.options(state.NewMemory(), staller, c.honest())
				f, stop := following(t, o)
				worst := time.Duration(0)
				for i := range 10 {
					time.Sleep(time.Second)
					h := c.block(t, int64(i+1))
					made := time.Now()
					reach(t, f, h.Height)
					worst = max(worst, time.Since(made))
				}
				if worst > o.Wait+o.Grace {
					t.Fatalf("a block took %s", worst)
				}
				if len(f.Dropped()) > 0 || staller.asked > 6 {
					t.Fatalf("dropped %v, the staller was asked %d times", f.Dropped(), staller.asked)
				}
				if err := stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// When the whole committee is silent the follower waits without spinning, and goes on.
func TestSilence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		down := true
		s := &source{name: "member"}
		s.answer = func(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
			if down {
				return follow.Blocks{}, errors.New("connection refused")
			}
			return c.answer(ctx, call)
		}
		f, _ := following(t, c.options(state.NewMemory(), s, s, s))
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.asked > 120 {
			t.Fatalf("asked %d times in a minute", s.asked)
		}
		down = false
		c.block(t, 1)
		reach(t, f, 1)
	})
}

// A block that the committee made final and that is not valid stops everything: nothing after
// it can be believed.
func TestDivergence(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		w := c.World
		p := w.Payment("one", 100, start+60)
		c.block(t, 1, w.Prepare(p))
		wrong := state.NewTransaction(state.Command{Signed: w.Confirm(w.Bob, w.Payment("none", 1, start+60))})
		payload := chain.Payload{wrong.Encode()}
		c.add(t, c.Block(c.qc, (start+2)*1000, payload, c.state.Header().Roots))
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := stop(); !errors.Is(err, follow.ErrDiverged) {
			t.Fatalf("%v", err)
		}
		if f.Head().Height > 1 {
			t.Fatalf("head %d", f.Head().Height)
		}
	})
}

func TestOptions(t *testing.T) {
	c := newCommittee(t)
	good := c.options(state.NewMemory(), c.honest())
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*follow.Options){
		"no genesis":    func(o *follow.Options) { o.Genesis = nil },
		"no store":      func(o *follow.Options) { o.Store = nil },
		"no source":     func(o *follow.Options) { o.Sources = nil },
		"no log":        func(o *follow.Options) { o.Log = nil },
		"no wait":       func(o *follow.Options) { o.Wait = 0 },
		"too long wait": func(o *follow.Options) { o.Wait = follow.MaxWaitMS*time.Millisecond + 1 },
		"no grace":      func(o *follow.Options) { o.Grace = 0 },
	} {
		o := good
		edit(&o)
		if _, err := follow.Open(o); !errors.Is(err, follow.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
