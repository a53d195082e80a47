package kafkaledger_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
	"github.com/cypherlink/cypherlink/ledger/book"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

func (s *site) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *site) must(c *ledger.SignedCommand) ledger.Receipt {
	s.t.Helper()
	r, err := s.gateway.Submit(s.context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) refused(c *ledger.SignedCommand, code cypherlink.Code) {
	s.t.Helper()
	_, err := s.gateway.Submit(s.context(), c)
	if cypherlink.ErrorCode(err) != code {
		s.t.Fatalf("%T: %v, want %s", c.Command, err, code)
	}
}

// stands wants the payment's custody in that state.
func (s *site) stands(p ledgertest.Payment, want ledger.State) {
	s.t.Helper()
	r, err := s.gateway.Lookup(s.context(), s.ID(p))
	if err != nil || r.Custody.State != want {
		s.t.Fatalf("%s, %v, want %s", r.Custody.State, err, want)
	}
}

// settled returns when the host has dealt with everything that is in the commands topic, and
// the gateway with its answers.
func (s *site) settled() {
	s.t.Helper()
	var id ledger.CustodyID // that nobody has asked about
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	if _, err := s.gateway.Lookup(s.context(), id); err != nil {
		s.t.Fatal(err)
	}
}

// audit stops everything and wants the host's books in order.
func (s *site) audit() book.Audited {
	s.t.Helper()
	s.close()
	a, err := book.Audit(context.Background(), s.hostStore, s.word(), s.charter().Backings)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// K1: every command of the topic, written again in any order and number, changes nothing.
func TestEveryCommandReplayed(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newSite(t, c, ledgertest.NewWorld())
		for i := range 6 {
			p := s.Payment(fmt.Sprint(i), 100, start+20)
			s.must(s.Prepare(p))
			switch i % 3 {
			case 0:
				s.must(s.Confirm(s.Bob, p))
			case 1:
				s.must(s.Return(s.Bob, p))
			}
		}
		poor := s.Prepare(s.Payment("poor", ledgertest.Opening, start+20))
		s.refused(poor, ledger.CodeFunds)
		forged := s.Prepare(s.Payment("forged", 1, start+20))
		forged.Signature[0]++
		s.refused(forged, ledger.CodeSignature)
		s.settled()
		before, err := s.host.Book().Balances(t.Context())
		if err != nil {
			t.Fatal(err)
		}

		values := c.read(t, s.commands)
		told := c.length(t, s.events)
		for range 3 {
			rand.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			c.write(t, s.commands, values...)
		}
		s.settled()
		// each is answered with what stands, and settled's question too
		if got := c.length(t, s.events) - told; got != int64(3*len(values)+1) {
			t.Errorf("%d answers to %d commands and a question", got, 3*len(values))
		}
		// what was refused for lack of funds stays refused when there are some
		s.clockMS.Store((start + 20) * 1000)
		for range s.gateway.Events(s.context(), 11) {
			break // the two custodies that were still prepared are returned
		}
		c.write(t, s.commands, values...)
		s.settled()
		s.refused(poor, ledger.CodeFunds)
		after, err := s.host.Book().Balances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range before {
			switch before[i].Account.Owner {
			case s.Alice.ID:
				if before[i].Asset == s.Asset {
					before[i].Amount += 200 // what came back
				}
			}
		}
		if !slices.Equal(before, after) {
			t.Errorf("balances were %v, are %v", before, after)
		}
		if s.host.Ignored() != 0 {
			t.Errorf("%d values were ignored", s.host.Ignored())
		}
		if a := s.audit(); a.Events != 12 || len(a.Custodies) != 6 {
			t.Errorf("%d events of %d custodies", a.Events, len(a.Custodies))
		}
	})
}

// K1: a copy of a refused command has no effect, even when what was wrong is mended.
func TestCopyOfARefusedCommand(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newSite(t, c, ledgertest.NewWorld())
		p := s.Payment("one", 700, start+20)
		early := s.Confirm(s.Bob, p) // before there is a custody
		s.refused(early, ledger.CodeUnknownCustody)
		s.must(s.Prepare(p))
		c.write(t, s.commands, kafkaledger.CommandValue(early), kafkaledger.CommandValue(early))
		s.settled()
		s.refused(early, ledger.CodeUnknownCustody)
		s.stands(p, ledger.Prepared)
		// both copies in one batch with what mends it between them
		q := s.Payment("two", 700, start+20)
		early = s.Confirm(s.Bob, q)
		value := kafkaledger.CommandValue(early)
		c.write(t, s.commands, value, kafkaledger.CommandValue(s.Prepare(q)), value)
		s.settled()
		s.stands(q, ledger.Prepared)
		s.must(s.Confirm(s.Bob, q)) // another command
		if a := s.audit(); a.Events != 3 {
			t.Errorf("%d events", a.Events)
		}
	})
}

// Nobody has another's command refused by sending it with a wrong signature.
func TestStolenCommand(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newSite(t, c, ledgertest.NewWorld())
		command := s.Prepare(s.Payment("one", 700, start+20))
		stolen := *command
		stolen.Signature[63] ^= 1
		c.write(t, s.commands, kafkaledger.CommandValue(&stolen), kafkaledger.CommandValue(&stolen))
		s.settled()
		s.refused(&stolen, ledger.CodeSignature)
		s.must(command)
	})
}

// K5: nothing that is written into the commands topic stops the host.
func TestGarbageInCommands(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newSite(t, c, ledgertest.NewWorld())
		p := s.Payment("one", 700, start+20)
		prepare := kafkaledger.CommandValue(s.Prepare(p))
		confirm := kafkaledger.CommandValue(s.Confirm(s.Bob, p))
		end := len(confirm) - 64 // of the preimage: the signature follows it
		record := &ledger.Record{Network: s.Network, Receipt: ledger.Receipt{
			Ledger: s.Ledger, Custody: ledger.Custody{ID: s.ID(p)}, Sequence: 1,
		}}
		record.Signature, _ = s.Operator.Sign(record.Frame())
		foreign := s.word()
		foreign.Ledger = "other"
		garbage := [][]byte{
			{},
			{kafkaledger.KindCommand},
			{0},
			{9},
			{kafkaledger.KindQuery},
			{kafkaledger.KindRecord},
			{kafkaledger.KindRefusal},
			prepare[:len(prepare)-1],
			append(slices.Clone(prepare), 0),
			slices.Concat(confirm[:end-1], confirm[end:]),          // a preimage of 31 bytes
			slices.Concat(confirm[:end], []byte{0}, confirm[end:]), // and of 33
			append([]byte{kafkaledger.KindCommand}, bytes.Repeat([]byte{0xff}, 1000)...),
			make([]byte, kafkaledger.MaxValue),
			make([]byte, kafkaledger.MaxValue+1),
			bytes.Repeat([]byte{kafkaledger.KindCommand}, 600<<10),
			kafkaledger.RecordValue(record),
			kafkaledger.RefusalValue(s.word(), s.Operator, s.Prepare(p), ledger.CodeFunds),
			kafkaledger.QueryValue(s.word(), s.Stranger.ID, s.Stranger, s.ID(p)),
			kafkaledger.QueryValue(s.word(), s.Bob.ID, s.Mallory, s.ID(p)),
			kafkaledger.QueryValue(foreign, s.Bob.ID, s.Bob, s.ID(p)),
		}
		for range 50 {
			random := make([]byte, rand.IntN(300))
			for i := range random {
				random[i] = byte(rand.Uint32())
			}
			garbage = append(garbage, random)
		}
		c.write(t, s.commands, garbage...)
		s.must(s.Prepare(p))
		s.must(s.Confirm(s.Bob, p))
		if got := s.host.Ignored(); got != uint64(len(garbage)) {
			t.Errorf("%d of %d values were ignored", got, len(garbage))
		}
		if s.gateway.Ignored() != 0 {
			t.Errorf("the gateway ignored %d", s.gateway.Ignored())
		}
		if a := s.audit(); a.Events != 2 {
			t.Errorf("%d events", a.Events)
		}
	})
}

// K2: host and gateway go on where they left off.
func TestRestartGoesOn(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newSite(t, c, ledgertest.NewWorld())
		s.must(s.Prepare(s.Payment("one", 700, start+20)))
		c.write(t, s.commands, []byte("nonsense"))
		c.write(t, s.events, []byte("nonsense"))
		s.settled()
		if host, gateway := s.host.Ignored(), s.gateway.Ignored(); host != 1 || gateway != 1 {
			t.Fatalf("%d and %d values were ignored", host, gateway)
		}
		s.close()
		s.startHost()
		s.startGateway()
		s.must(s.Prepare(s.Payment("two", 700, start+20)))
		s.settled()
		if host, gateway := s.host.Ignored(), s.gateway.Ignored(); host != 0 || gateway != 0 {
			t.Errorf("%d and %d values were ignored again", host, gateway)
		}
	})
}

// Many commands, from many submitters through two gateways, each twice.
func TestTwoGateways(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newSite(t, c, ledgertest.NewWorld())
		second := kafkaledger.NewGateway(open(t), s.gatewayOptions())
		stop := running(second.Run, second.Close)
		errs := make(chan error)
		const n = 64
		for i := range n {
			go func() {
				p := s.Payment(fmt.Sprint(i), 1, start+20)
				prepare, confirm := s.Prepare(p), s.Confirm(s.Bob, p)
				for _, l := range []ledger.Ledger{s.gateway, second} {
					for _, command := range []*ledger.SignedCommand{prepare, confirm} {
						if _, err := l.Submit(s.context(), command); err != nil {
							errs <- err
							return
						}
					}
				}
				errs <- nil
			}()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		seen := 0
		for e, err := range second.Events(s.context(), 0) {
			if err != nil || e.Receipt.Sequence != uint64(seen)+1 {
				t.Fatalf("event %d: %+v, %v", seen+1, e, err)
			}
			if seen++; seen == 2*n {
				break
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if a := s.audit(); a.Events != 2*n {
			t.Errorf("%d events", a.Events)
		}
	})
}
