package payment

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is the network with its processes: two banks, the clearing bank, and Validators as
// functions, on two ledgers in memory.
type world struct {
	*network
	tb            testing.TB
	dir           string
	de, cypherium *memoryLedger
	rosters       *Rosters

	mu        sync.Mutex
	processes map[cypherlink.ParticipantID]*process
	// fault may answer a call in the place of who is called, or lose its answer.
	fault fault
	// outcome is what the Validators say.
	outcome judgement
	told    []Payment
	books   books
	// joints gives who signs a joint action; nil in a world without channels.
	joints func(j *channels.Joint) (*cosi.Roster, error)
}

// judgement is what a Validator says.
type judgement func(w *world, by *player, r *VerdictRequest) validator.Outcome

// call is a message on its way; serve is what whoever is called would answer.
type call struct {
	ctx      context.Context
	from, to cypherlink.ParticipantID
	kind     uint8
	body     []byte
	serve    func() ([]byte, error)
}

// fault decides what becomes of a call.
type fault func(c call) ([]byte, error)

// process is a bank or the clearing bank as it runs.
type process struct {
	connect  *Connect
	clearing *Clearing
	serve    func(ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error)
	stop     func()
}

// books is what Bank B's books say.
type books struct {
	standing kyc.Standing
	holder   string
	err      error
}

func (b books) Standing(context.Context, kyc.Account) (kyc.Standing, string, error) {
	return b.standing, b.holder, b.err
}

type prices struct{ *network }

func (p prices) Price(_ context.Context, source, destination cypherlink.Asset) (connector.Price, bool) {
	return p.price, source == assetDE() && destination == assetDCEP()
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return newWorldOf(tb, newNetwork(tb, nil))
}

func newWorldOf(tb testing.TB, n *network) *world {
	tb.Helper()
	w := &world{
		network: n, tb: tb, dir: tb.TempDir(),
		processes: map[cypherlink.ParticipantID]*process{}, books: books{standing: kyc.Open},
		outcome: func(*world, *player, *VerdictRequest) validator.Outcome { return validator.Approved },
	}
	w.rosters = NewRosters(w.genesis)
	w.de, w.cypherium = newLedger(tb, w.network, "de"), newLedger(tb, w.network, "cypherium")
	return w
}

// wire is the network as one participant reaches it.
type wireTo struct {
	*world
	from cypherlink.ParticipantID
}

// Call is Peers'.
func (w wireTo) Call(
	ctx context.Context, to cypherlink.ParticipantID, kind uint8, body []byte,
) ([]byte, error) {
	serve := func() ([]byte, error) {
		for _, v := range w.validators {
			if v.id() == to {
				return w.validate(v, kind, body)
			}
		}
		w.mu.Lock()
		p := w.processes[to]
		w.mu.Unlock()
		if p == nil {
			return nil, errDown
		}
		raw, err := p.serve(ctx, w.from, kind, body)
		if refusal, ok := errors.AsType[*cypherlink.Error](err); ok {
			told := *refusal // a cause is not told
			told.Err = nil
			return nil, &told
		}
		return raw, err
	}
	w.mu.Lock()
	fault := w.fault
	w.mu.Unlock()
	if fault != nil {
		return fault(call{ctx, w.from, to, kind, body, serve})
	}
	return serve()
}

// validate is a Validator, whatever it is asked.
func (w *world) validate(by *player, kind uint8, body []byte) ([]byte, error) {
	network := w.genesis.Network()
	switch kind {
	case KindVerdict:
		return w.judge(by, body)
	case KindEndorse:
		r, err := DecodeEndorseRequest(body)
		if err != nil {
			return nil, err
		}
		signature, err := by.identity.SignRecorded(r.Update.Frame(network))
		return signature[:], err
	case KindJoin:
		r, err := DecodeJoinRequest(body)
		if err != nil {
			return nil, err
		}
		roster, err := w.joints(&r.Joint)
		if err != nil {
			return nil, err
		}
		share, err := by.key.SignRecorded(r.Joint.Frame(network, roster.Root()))
		return share[:], err
	}
	return nil, fmt.Errorf("kind %d: %w", kind, ErrMessage)
}

// judge is a Validator: it checks the proof, and what was opened to it, and says what the test
// wants.
func (w *world) judge(by *player, body []byte) ([]byte, error) {
	r, err := DecodeVerdictRequest(body)
	if err != nil {
		return nil, err
	}
	if err := w.rosters.Verify(r.Proof); err != nil {
		return nil, err
	}
	if _, err := kyc.Verify(r.Proof.Terms.KYC, r.Opened); err != nil {
		return nil, err
	}
	return EncodeVerdict(w.verdict(w.tb, by, subject(r.Proof.Terms, r.Leg), w.outcome(w, by, r))), nil
}

// open opens the store of a participant.
func (w *world) open(of *player) *store.Store {
	w.tb.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+filepath.Join(w.dir, of.BIC.String()+".db"))
	if err != nil {
		w.tb.Fatal(err)
	}
	return s
}

// quiet logs nothing.
var dbgLog = slog.New(slog.DiscardHandler)

func quiet() *slog.Logger { return dbgLog }

// startBank starts a bank's Connect on its store.
func (w *world) startBank(of *player) *Connect {
	w.tb.Helper()
	c := w.newBank(of)
	w.run(of, c.Store, &process{connect: c, serve: c.Serve}, c.Run)
	return c
}

// newBank is a bank's Connect on its store, which does not run.
func (w *world) newBank(of *player) *Connect {
	w.tb.Helper()
	s := w.open(of)
	c, err := NewConnect(Options{
		Bank: w.bank(of), Store: s, Identity: signer{of}, Cosigner: of.key, Peers: wireTo{w, of.id()},
		Venues:    connector.Venues{Ledgers: map[cypherlink.LedgerID]ledger.Ledger{"de": w.de, "cypherium": w.cypherium}},
		Customers: w.books, Random: rand.Reader, Log: quiet(),
		Changed: func(p *Payment) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, *p)
		},
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return c
}

// startClearing starts the clearing bank.
func (w *world) startClearing() *Clearing {
	w.tb.Helper()
	s := w.open(w.clearing)
	c, err := NewClearing(ClearingOptions{
		Dealer: w.dealer(), Store: s, Identity: signer{w.clearing}, Cosigner: w.clearing.key,
		Venues: connector.Venues{Ledgers: map[cypherlink.LedgerID]ledger.Ledger{"de": w.de, "cypherium": w.cypherium}},
		Prices: prices{w.network}, Random: rand.Reader, Log: quiet(),
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.run(w.clearing, s, &process{clearing: c, serve: c.Serve}, c.Run)
	return c
}

func (w *world) run(of *player, s *store.Store, p *process, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	p.stop = func() {
		w.mu.Lock()
		delete(w.processes, of.id())
		w.mu.Unlock()
		cancel()
		if err := <-done; err != nil {
			w.tb.Error(err)
		}
		if err := s.Close(); err != nil {
			w.tb.Error(err)
		}
	}
	w.mu.Lock()
	w.processes[of.id()] = p
	w.mu.Unlock()
}

// start starts everybody.
func (w *world) start() (a, b *Connect) {
	w.startClearing()
	b = w.startBank(w.b)
	return w.startBank(w.a), b
}

// stop stops a participant, as a crash would but for what is being written.
func (w *world) stop(of *player) {
	w.mu.Lock()
	p := w.processes[of.id()]
	w.mu.Unlock()
	if p != nil {
		p.stop()
	}
}

func (w *world) stopAll() {
	for _, a := range []*player{w.a, w.b, w.clearing} {
		w.stop(a)
	}
}

// setFault puts a fault into the network, nil for none.
func (w *world) setFault(fault fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

// submit hands in an instruction and wants a new payment.
func (w *world) submit(c *Connect, i int) cypherlink.UETR {
	w.tb.Helper()
	raw := w.json(i)
	p, err := c.Submit(context.Background(), raw, JSON, fmt.Sprint("key-", i))
	if err != nil || p.Replayed {
		w.tb.Fatalf("%+v, %v", p, err)
	}
	return p.Payment.UETR
}

// until waits, in virtual time, until a payment has one of the statuses.
func (w *world) until(c *Connect, uetr cypherlink.UETR, want ...Status) *Payment {
	w.tb.Helper()
	for range 500 {
		p, err := c.Payment(context.Background(), uetr)
		if err == nil {
			if slices.Contains(want, p.Status) {
				return p
			}
			direct := p.Source != nil && *p.Source == *p.Destination // it goes on to be booked
			if p.Status.Final() && (!direct || len(p.Status.next()) == 0) {
				w.tb.Fatalf("the payment is %s, want %v: %v", p.Status, want, p.Refusal)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	p, err := c.Payment(context.Background(), uetr)
	w.tb.Fatalf("the payment stays %+v, want %v: %v", p, want, err)
	return nil
}

// moved wants that many of the main job's payments to have moved, and nothing else.
func (w *world) moved(times cypherlink.Amount) {
	w.tb.Helper()
	for _, want := range []struct {
		ledger *memoryLedger
		of     *player
		asset  cypherlink.Asset
		diff   cypherlink.Amount
	}{
		{w.de, w.a, assetDE(), -1001_00},
		{w.de, w.clearing, assetDE(), 1001_00},
		{w.de, w.b, assetDE(), 0},
		{w.cypherium, w.clearing, assetDCEP(), -2000_00},
		{w.cypherium, w.b, assetDCEP(), 2000_00},
		{w.cypherium, w.a, assetDCEP(), 0},
	} {
		if got := want.ledger.balance(w.tb, want.of, want.asset); got != openingAmount+times*want.diff {
			w.tb.Errorf("%s has %d of %s, want %d", want.of.Name, got, want.asset,
				openingAmount+times*want.diff)
		}
	}
}
