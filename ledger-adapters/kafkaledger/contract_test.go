package kafkaledger_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
	"github.com/cypherlink/cypherlink/ledger/book"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

const start = 1_800_000_000 // seconds

func TestMain(m *testing.M) {
	if dsn := os.Getenv(childStore); dsn != "" {
		fmt.Println("error:", child(dsn))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// site is a host and a gateway, each with a store, and a cluster between them.
type site struct {
	*ledgertest.World
	t                testing.TB
	cluster          *cluster
	commands, events string
	clockMS          *atomic.Int64
	// ramp and burns are set where value crosses.
	ramp  *ledgertest.Ramp
	burns ledgertest.Burns

	hostStore, gatewayStore *store.Store

	host        *kafkaledger.Host
	gateway     *kafkaledger.Gateway
	stopHost    func() error
	stopGateway func() error
}

func newSite(t testing.TB, c *cluster, w *ledgertest.World) *site {
	t.Helper()
	s := &site{
		World: w, t: t, cluster: c, clockMS: &atomic.Int64{},
		hostStore: open(t), gatewayStore: open(t),
	}
	s.begin()
	return s
}

// open makes a store that is closed when the test has ended.
func open(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func (s *site) begin() {
	s.t.Helper()
	s.clockMS.Store(start * 1000)
	s.commands, s.events = s.cluster.topics(s.t)
	s.startHost()
	s.startGateway()
	s.t.Cleanup(s.close)
}

func (s *site) now() time.Time { return time.UnixMilli(s.clockMS.Load()) }

func (s *site) hostOptions() kafkaledger.HostOptions {
	return kafkaledger.HostOptions{
		Broker: s.cluster.broker, Commands: s.commands, Events: s.events, OperatorKey: s.Operator.Key,
		Book: book.Options{
			Charter: s.charter(), Opening: s.Balances(), Signer: s.Operator,
			Now: s.now, Sweep: 5 * time.Millisecond,
		},
		Log: s.log(),
	}
}

func (s *site) charter() ledger.Charter {
	if s.ramp == nil {
		return s.Charter()
	}
	return s.ramp.External(s.burns)
}

// log is the test's, where there is one.
func (s *site) log() *slog.Logger {
	if s.t == nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(s.t.Output(), nil))
}

func (s *site) gatewayOptions() kafkaledger.Options {
	return kafkaledger.Options{
		Broker: s.cluster.broker, Commands: s.commands, Events: s.events, Operator: s.word(),
		Participant: s.Bob.ID, Signer: s.Bob,
		Log: s.log(),
	}
}

func (s *site) word() ledger.Operator {
	return ledger.Operator{Network: s.Network, Ledger: s.Ledger, Key: s.Operator.Key}
}

// running runs something until its end is asked for.
func running(run func(context.Context) error, last ...func() error) func() error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return func() error {
		cancel()
		err := <-ended
		for _, f := range last {
			err = errors.Join(err, f())
		}
		return err
	}
}

func (s *site) startHost() {
	s.t.Helper()
	var err error
	if s.host, err = kafkaledger.NewHost(context.Background(), s.hostStore, s.hostOptions()); err != nil {
		s.t.Fatal(err)
	}
	s.stopHost = running(s.host.Run, s.host.Close)
}

func (s *site) startGateway() {
	s.gateway = kafkaledger.NewGateway(s.gatewayStore, s.gatewayOptions())
	s.stopGateway = running(s.gateway.Run, s.gateway.Close)
}

func (s *site) close() {
	s.t.Helper()
	for _, stop := range []*func() error{&s.stopGateway, &s.stopHost} {
		if *stop != nil {
			if err := (*stop)(); err != nil {
				s.t.Error(err)
			}
			*stop = nil
		}
	}
}

func (s *site) harness() ledgertest.Harness {
	operator := s.word()
	return ledgertest.Harness{
		Ledger:  s.gateway,
		Now:     s.now,
		Advance: func(d time.Duration) { s.clockMS.Add(d.Milliseconds()) },
		Check: func(r ledger.Receipt) error {
			told, err := operator.Receipt(r.Evidence)
			if err == nil && !reflect.DeepEqual(told, r) {
				err = errors.New("the receipt is not what its evidence says")
			}
			return err
		},
		Balance: func(a cypherlink.Account, asset cypherlink.Asset) (cypherlink.Amount, error) {
			balances, err := s.host.Book().Balances(context.Background())
			for _, b := range balances {
				if b.Account == a && b.Asset == asset {
					return b.Amount, nil
				}
			}
			return 0, errors.Join(err, errors.New("no such account"))
		},
		Restart: func() ledger.Ledger {
			s.close()
			s.startGateway()
			s.startHost()
			return s.gateway
		},
	}
}

// The contract, on every kind of broker and store. Host and gateway share one store, as in a
// process that has both.
func TestContract(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		storetest.Engines(t, func(t *testing.T, dsn string) {
			st := storetest.Open(t, dsn)
			ledgertest.Run(t, func(t *testing.T, w *ledgertest.World) ledgertest.Harness {
				empty(t, st)
				s := &site{
					World: w, t: t, cluster: c, clockMS: &atomic.Int64{}, hostStore: st, gatewayStore: st,
				}
				s.begin()
				return s.harness()
			})
		})
	})
}

// empty makes a store as good as new.
func empty(t testing.TB, st *store.Store) {
	t.Helper()
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		for _, table := range []string{
			"book_head", "book_places", "book_events", "book_journal", "book_custodies",
			"book_crossings", "kafka_refusals", "kafka_records", "kafka_crossings", "outbox", "offsets",
		} {
			if _, err := tx.Exec("DELETE FROM " + table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
