package chainledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/chainledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const start = chaintest.Start / 1000

// fabric is a chain without consensus, a follower of it, and a ledger whose members say what
// the test wants.
type fabric struct {
	*chaintest.Network
	t        *testing.T
	state    *state.State
	qc       chain.QC
	store    state.Store // the follower's
	follower *follow.Follower
	ledger   *chainledger.Ledger
	members  []*voice

	mu      sync.Mutex
	blocks  []follow.FinalBlock
	changed chan struct{}
}

type saying = func(context.Context) (follow.Outcome, error)

// voice is a member that says what say says, and counts how often it is asked.
type voice struct {
	mu    sync.Mutex
	say   saying
	judge func(*state.Transaction) follow.Outcome // in the place of say, where it is set
	asked int
}

func (v *voice) Submit(ctx context.Context, call follow.Submission) (follow.Outcome, error) {
	v.mu.Lock()
	v.asked++
	say := v.say
	v.mu.Unlock()
	if v.judge != nil {
		return v.judge(call.Transaction), nil
	}
	return say(ctx)
}

func pending(ctx context.Context) (follow.Outcome, error) {
	select {
	case <-time.After(time.Second):
		return follow.Outcome{Status: follow.Pending}, nil
	case <-ctx.Done():
		return follow.Outcome{}, ctx.Err()
	}
}

func refuses(code cypherlink.Code, height uint64) func(context.Context) (follow.Outcome, error) {
	refusal := &cypherlink.Error{Code: code, Reason: "ED05", Message: "no"}
	return func(context.Context) (follow.Outcome, error) {
		return follow.Outcome{Status: follow.Refused, Height: height, Refusal: refusal}, nil
	}
}

func down(context.Context) (follow.Outcome, error) { return follow.Outcome{}, errors.New("refused") }

// Name and Fetch make the fabric the follower's one source.
func (f *fabric) Name() string { return "fabric" }

func (f *fabric) Fetch(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
	for {
		f.mu.Lock()
		head, changed := uint64(len(f.blocks)), f.changed
		var blocks []follow.FinalBlock
		if call.From <= head {
			blocks = f.blocks[call.From-1 : head]
		}
		f.mu.Unlock()
		if len(blocks) > 0 {
			return follow.Blocks{Head: head, Blocks: blocks}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return follow.Blocks{}, ctx.Err()
		}
	}
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

// weave makes a fabric at height 0, whose follower does not run yet.
func weave(t *testing.T) *fabric {
	t.Helper()
	return weaveOn(t, network(t))
}

func weaveOn(t *testing.T, n *chaintest.Network) *fabric {
	t.Helper()
	s, err := state.Open(state.NewMemory(), n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	n.SetRoots(t, s.Header().Roots)
	f := &fabric{
		Network: n, t: t, state: s, qc: n.Committee.Genesis(), changed: make(chan struct{}),
		store: state.NewMemory(),
	}
	for range chaintest.Members {
		f.members = append(f.members, &voice{say: pending})
	}
	return f
}

// follow runs the follower and the ledger over it until stop is called.
func (f *fabric) follow() (stop func()) {
	f.t.Helper()
	o := follow.DefaultOptions(f.Genesis)
	o.Store, o.Log, o.Sources = f.store, quiet(), []follow.Source{f}
	var err error
	if f.follower, err = follow.Open(o); err != nil {
		f.t.Fatal(err)
	}
	if f.ledger, err = chainledger.New(f.Genesis, f.follower, f.members); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- f.follower.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Error(err)
		}
	}
}

// inBubble runs a test on a fabric at height 1.
func inBubble(t *testing.T, test func(f *fabric)) {
	t.Helper()
	bubble(t, weave, test)
}

func bubble(t *testing.T, begin func(*testing.T) *fabric, test func(f *fabric)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := begin(t)
		stop := f.follow()
		defer stop()
		f.block(1)
		synctest.Wait()
		test(f)
	})
}

// block makes a final block at seconds after the genesis.
func (f *fabric) block(seconds int64, commands ...*ledger.SignedCommand) {
	f.t.Helper()
	f.blockAt((start+seconds)*1000, commands...)
}

func (f *fabric) blockAt(at int64, commands ...*ledger.SignedCommand) {
	f.t.Helper()
	var bodies []state.Body
	for _, command := range commands {
		bodies = append(bodies, state.Command{Signed: command})
	}
	f.blockOf(at, bodies...)
}

func (f *fabric) blockOf(at int64, bodies ...state.Body) {
	f.t.Helper()
	var txs []*state.Transaction
	for _, body := range bodies {
		txs = append(txs, state.NewTransaction(body))
	}
	built, err := f.state.Build(f.state.Final(), f.state.Header().Height+1, at, txs)
	if err != nil || len(built.LeftOut) > 0 {
		f.t.Errorf("%v, left out %v", err, built.LeftOut)
		return
	}
	b := f.Block(f.qc, at, built.Payload, built.Version.Roots())
	f.qc = f.Certify(f.t, b.Header)
	child := f.Block(f.qc, at+1, nil, b.Header.Roots)
	final := follow.FinalBlock{Block: b, Proof: chain.FinalityProof{
		Headers: []chain.Header{b.Header, child.Header}, QC: f.Certify(f.t, child.Header),
	}}
	if err := f.state.Commit(built.Version, state.Final{Block: b, Proof: final.Proof}); err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocks = append(f.blocks, final)
	close(f.changed)
	f.changed = make(chan struct{})
}

// say makes the members speak so, in their order.
func (f *fabric) say(all ...saying) {
	for i, say := range all {
		f.members[i].mu.Lock()
		f.members[i].say = say
		f.members[i].mu.Unlock()
	}
}

// submit gives a command a minute.
func (f *fabric) submit(c *ledger.SignedCommand) (ledger.Receipt, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	return f.ledger.Submit(ctx, c)
}

func code(err error) cypherlink.Code { return cypherlink.ErrorCode(err) }

func TestSubmitWaitsForTheBlock(t *testing.T) {
	inBubble(t, func(f *fabric) {
		w := f.World
		p := w.Payment("one", 100, start+60)
		c := w.Prepare(p)
		time.AfterFunc(20*time.Second, func() { f.block(21, c) })
		r, err := f.submit(c)
		if err != nil || r.Custody.State != ledger.Prepared || r.TimeMS != (start+21)*1000 {
			f.t.Fatalf("%+v, %v", r, err)
		}
		if _, err := follow.VerifyEvidence(f.Genesis, r); err != nil {
			f.t.Fatal(err)
		}
		asked := f.members[0].asked
		again, err := f.submit(c)
		if err != nil || again.Sequence != r.Sequence || f.members[0].asked != asked {
			f.t.Fatalf("a repeated command is asked for again: %+v, %v", again, err)
		}
	})
}

// What a member says is believed only if somebody honest says it too.
func TestRefusals(t *testing.T) {
	funds, unknown := ledger.CodeFunds, ledger.CodeUnknownAccount
	tests := []struct {
		name string
		say  []saying
		want cypherlink.Code // or "" where the outcome stays unknown
	}{
		{"two of four agree", []saying{
			refuses(funds, 1), pending, pending, refuses(funds, 1),
		}, funds},
		{"all four agree", []saying{
			refuses(funds, 9), refuses(funds, 9), refuses(funds, 9), refuses(funds, 9),
		}, funds},
		{"one refuses", []saying{refuses(funds, 1)}, ""},
		{"two refuse for different reasons", []saying{
			refuses(funds, 1), refuses(unknown, 1),
		}, ""},
		{"one refuses again and again, the others are down", []saying{
			refuses(funds, 1), down, down, down,
		}, ""},
		{"two refuse on a state that the submitter knows to be old", []saying{
			refuses(funds, 0), refuses(funds, 0), refuses(funds, 0),
		}, ""},
		{"two refuse without a reason", []saying{
			func(context.Context) (follow.Outcome, error) {
				return follow.Outcome{Status: follow.Refused, Height: 1}, nil
			},
			func(context.Context) (follow.Outcome, error) {
				return follow.Outcome{Status: follow.Refused, Height: 1}, nil
			},
		}, ""},
		{"all say that it is final, and it is not", []saying{
			final, final, final, final,
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(f *fabric) {
				f.say(tt.say...)
				_, err := f.submit(f.World.Prepare(f.World.Payment("one", 100, start+60)))
				if tt.want != "" && code(err) != tt.want ||
					tt.want == "" && !errors.Is(err, context.DeadlineExceeded) {
					f.t.Fatalf("%v", err)
				}
				for i, m := range f.members {
					if m.asked > 700 {
						f.t.Fatalf("member %d was asked %d times in a minute", i, m.asked)
					}
				}
			})
		})
	}
}

func final(context.Context) (follow.Outcome, error) {
	return follow.Outcome{Status: follow.Final, Height: 1}, nil
}

// A member that changed its mind does not count with its old word.
func TestLastWordsCount(t *testing.T) {
	inBubble(t, func(f *fabric) {
		c := f.World.Prepare(f.World.Payment("one", 100, start+60))
		f.say(refuses(ledger.CodeFunds, 1))
		time.AfterFunc(10*time.Second, func() { f.say(pending) })
		time.AfterFunc(20*time.Second, func() { f.say(pending, refuses(ledger.CodeFunds, 1)) })
		time.AfterFunc(30*time.Second, func() { f.block(31, c) })
		if r, err := f.submit(c); err != nil || r.Custody.State != ledger.Prepared {
			f.t.Fatalf("%+v, %v", r, err)
		}
	})
}

// All members may be down for a while: the first that comes back gets the command.
func TestOutage(t *testing.T) {
	inBubble(t, func(f *fabric) {
		c := f.World.Prepare(f.World.Payment("one", 100, start+90))
		f.say(down, down, down, down)
		var once sync.Once
		taken := func(ctx context.Context) (follow.Outcome, error) {
			once.Do(func() { f.block(31, c) })
			return pending(ctx)
		}
		time.AfterFunc(20*time.Second, func() { f.say(down, down, taken, down) })
		if r, err := f.submit(c); err != nil || r.Custody.State != ledger.Prepared {
			f.t.Fatalf("%+v, %v", r, err)
		}
	})
}

// What no member could accept is refused here.
func TestUnauthenticCommands(t *testing.T) {
	inBubble(t, func(f *fabric) {
		w := f.World
		p := w.Payment("one", 100, start+60)
		f.block(2, w.Prepare(p))
		synctest.Wait()
		forged, elsewhere := w.Prepare(p), w.Prepare(p)
		forged.Signature[0] ^= 1
		elsewhere.Ledger = "other"
		ledgertest.Resign(w.Alice, elsewhere)
		for want, c := range map[cypherlink.Code]*ledger.SignedCommand{
			ledger.CodeSignature: forged, ledger.CodeMalformed: elsewhere,
			ledger.CodeUnknownSigner: w.Sign(w.Stranger, w.Prepare(p).Command),
		} {
			if _, err := f.submit(c); code(err) != want {
				f.t.Errorf("%s: %v", want, err)
			}
		}
		for _, m := range f.members {
			if m.asked > 0 {
				f.t.Fatal("a member was asked")
			}
		}
	})
}

// Who may speak, the registry of the chain says that the follower has verified, not genesis.
func TestTheRegistryOfNow(t *testing.T) {
	inBubble(t, func(f *fabric) {
		w := f.World
		change := func(seconds int64, c chain.Change) {
			on := f.state.Final().Registry()
			f.blockOf((start+seconds)*1000, state.RegistryChange{Certified: f.Change(f.t, on, c)})
			synctest.Wait()
		}
		p := w.Payment("one", 100, start+60)
		f.block(2, w.Prepare(p))
		newcomer, actor, _ := chaintest.Newcomer(f.t, "a new bank", chain.RoleBank)
		if _, err := f.submit(w.Confirm(actor, p)); code(err) != ledger.CodeUnknownSigner {
			f.t.Fatal(err)
		}
		change(3, &chain.Register{Participant: newcomer})
		change(4, &chain.Revoke{ID: w.Alice.ID})
		if _, err := f.submit(w.Prepare(w.Payment("two", 1, start+60))); code(err) != ledger.CodeRevoked {
			f.t.Fatal(err)
		}
		confirm := w.Confirm(actor, p)
		f.block(5, confirm)
		if r, err := f.submit(confirm); err != nil || r.Custody.State != ledger.Confirmed {
			f.t.Fatalf("%+v, %v", r, err)
		}
	})
}

// A command on a custody that stands otherwise is a matter for the members.
func TestWhatStandsOtherwise(t *testing.T) {
	inBubble(t, func(f *fabric) {
		w := f.World
		p := w.Payment("one", 100, start+60)
		f.block(2, w.Prepare(p))
		synctest.Wait()
		f.say(refuses(ledger.CodeCustodyDiffers, 2), refuses(ledger.CodeCustodyDiffers, 2))
		packet, amount := p, p
		packet.Packet = []byte("another")
		amount.Subject.Fields.Amount++
		wrong := *w.Confirm(w.Bob, p)
		wrong.Command = &ledger.Confirm{ID: w.ID(p)}
		ledgertest.Resign(w.Bob, &wrong)
		for name, c := range map[string]*ledger.SignedCommand{
			"another packet": w.Prepare(packet), "another amount": w.Prepare(amount),
			"a confirm": w.Confirm(w.Bob, p), "a return": w.Return(w.Bob, p),
		} {
			if _, err := f.submit(c); code(err) != ledger.CodeCustodyDiffers {
				f.t.Errorf("%s: %v", name, err)
			}
		}
		f.block(3, w.Confirm(w.Bob, p))
		synctest.Wait()
		f.say(refuses(ledger.CodePreimage, 3), refuses(ledger.CodePreimage, 3))
		if _, err := f.submit(&wrong); code(err) != ledger.CodePreimage {
			f.t.Errorf("a confirm with another preimage: %v", err)
		}
		if r, err := f.submit(w.Prepare(p)); err != nil || r.Custody.State != ledger.Confirmed {
			f.t.Errorf("a repeated prepare: %+v, %v", r, err)
		}
	})
}

func TestNewWantsTheWholeCommittee(t *testing.T) {
	inBubble(t, func(f *fabric) {
		_, err := chainledger.New(f.Genesis, f.follower, f.members[1:])
		if !errors.Is(err, chainledger.ErrOptions) {
			f.t.Fatal(err)
		}
	})
}

func TestLookupAndEvents(t *testing.T) {
	inBubble(t, func(f *fabric) {
		w := f.World
		var commands []*ledger.SignedCommand
		for i := range 3 {
			commands = append(commands, w.Prepare(w.Payment(fmt.Sprint(i), 1, start+60)))
		}
		f.block(2, commands...)
		synctest.Wait()
		r, err := f.ledger.Lookup(f.t.Context(), w.ID(w.Payment("1", 1, start+60)))
		if err != nil || r.Custody.State != ledger.Prepared {
			f.t.Fatalf("%+v, %v", r, err)
		}
		n := ledger.Cursor(1)
		for e, err := range f.ledger.Events(f.t.Context(), n) {
			n++
			if err != nil || e.Cursor != n {
				f.t.Fatalf("%d, %v", e.Cursor, err)
			}
			if n == 3 {
				break
			}
		}
	})
}
