package kafkaledger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// newPort is a site from which value crosses to a chain that the test stands in for.
func newPort(t testing.TB, c *cluster) *site {
	t.Helper()
	r := ledgertest.NewRamp("cypherium")
	s := &site{
		World: r.World, ramp: r, burns: ledgertest.Burns{}, t: t, cluster: c, clockMS: &atomic.Int64{},
		hostStore: open(t), gatewayStore: open(t),
	}
	for nonce := range uint64(9) {
		s.burns[fmt.Sprint("burn ", nonce)] = r.Burn(nonce, 100*cypherlink.Amount(nonce), start+60)
	}
	s.begin()
	return s
}

// deposit lets an amount of a hundred times the nonce leave.
func (s *site) deposit(nonce uint64) *ledger.SignedCommand {
	amount := 100 * cypherlink.Amount(nonce)
	return s.ramp.Leave(s.Alice, s.ramp.Deposit(nonce, amount, start+60))
}

// payout lets as much come back.
func (s *site) payout(nonce uint64) *ledger.SignedCommand {
	name := fmt.Sprint("burn ", nonce)
	return s.ramp.Enter(s.Bob, s.burns[name], []byte(name))
}

// cross wants the command to succeed, with a passage that its evidence shows.
func (s *site) cross(c *ledger.SignedCommand) ledger.Passage {
	s.t.Helper()
	p, err := s.gateway.Cross(s.context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	operator := s.word()
	told, err := operator.Passage(p.Evidence)
	if err != nil || !reflect.DeepEqual(told, p) {
		s.t.Fatalf("%+v, its evidence says %+v, %v", p, told, err)
	}
	return p
}

func (s *site) notCrossed(c *ledger.SignedCommand, code cypherlink.Code) {
	s.t.Helper()
	if _, err := s.gateway.Cross(s.context(), c); cypherlink.ErrorCode(err) != code {
		s.t.Fatalf("%T: %v, want %s", c.Command, err, code)
	}
}

func TestRampOverKafka(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newPort(t, c)
		in := s.cross(s.deposit(5))
		custody := s.must(s.Prepare(s.Payment("between", 700, start+20)))
		out := s.cross(s.payout(4))
		if in.Sequence != 1 || !in.Left() || out.Sequence != 2 || out.Left() || custody.Sequence != 1 {
			t.Fatalf("%+v, %+v, %+v", in, out, custody)
		}
		// repeated by other commands, also through a gateway that begins and over a restart
		for _, restart := range []bool{false, true} {
			if restart {
				s.close()
				s.gatewayStore = open(t)
				s.startGateway()
				s.startHost()
			}
			if p := s.cross(s.deposit(5)); !reflect.DeepEqual(p, in) {
				t.Fatalf("%+v, was %+v", p, in)
			}
			if p := s.cross(s.payout(4)); !reflect.DeepEqual(p, out) {
				t.Fatalf("%+v, was %+v", p, out)
			}
		}
		s.notCrossed(s.payout(2), ledger.CodeBacking)
		other := in.Crossing
		other.To++
		s.notCrossed(s.ramp.Leave(s.Alice, other), ledger.CodeCrossingDiffers)
		forged := s.payout(1)
		forged.Command = &ledger.Enter{Crossing: s.burns["burn 1"], Evidence: []byte("burn 2")}
		ledgertest.Resign(s.Bob, forged)
		s.notCrossed(forged, ledger.CodeEvidence)
		s.notCrossed(s.Prepare(s.Payment("one", 1, start+20)), ledger.CodeMalformed)
		s.refused(s.deposit(5), ledger.CodeMalformed)
		s.clockMS.Store((start + 60) * 1000)
		s.notCrossed(s.deposit(6), ledger.CodeLapsed)
		if p := s.cross(s.payout(1)); p.Sequence != 3 {
			t.Errorf("%+v", p)
		}
		a := s.audit()
		if len(a.Passages) != 3 || s.host.Ignored() != 0 || s.gateway.Ignored() != 0 {
			t.Errorf("%d passages", len(a.Passages))
		}
	})
}

// K1: every command of the topic, written again in any order and number, changes nothing.
func TestEveryCrossingReplayed(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newPort(t, c)
		var all sync.WaitGroup
		for nonce := range uint64(6) {
			all.Go(func() {
				if _, err := s.gateway.Cross(s.context(), s.deposit(nonce+1)); err != nil {
					t.Error(err)
				}
				if _, err := s.gateway.Cross(s.context(), s.payout(nonce+1)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		lapsed := s.ramp.Leave(s.Alice, s.ramp.Deposit(9, 1, start))
		s.notCrossed(lapsed, ledger.CodeLapsed)
		s.settled()
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
		if a := s.audit(); len(a.Passages) != 12 {
			t.Errorf("%d passages", len(a.Passages))
		}
	})
}

// K2: a host that ends when a crossing is durable, and nobody has heard of it, publishes it when it
// runs again.
func TestHostEndsBeforeItPublishesAPassage(t *testing.T) {
	c := embedded(t)
	s := newPort(t, c)
	silent := c.running.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: s.events, Err: kerr.NotLeaderForPartition, Count: -1,
	})
	c.write(t, s.commands, kafkaledger.CommandValue(s.deposit(3)), kafkaledger.CommandValue(s.payout(2)))
	for ctx := s.context(); len(s.unsent()) < 2; {
		if ctx.Err() != nil {
			t.Fatalf("%d of 2 answers wait", len(s.unsent()))
		}
	}
	s.restartHost()
	silent.Remove()
	if p := s.cross(s.deposit(3)); p.Sequence != 1 {
		t.Errorf("%+v", p)
	}
	if p := s.cross(s.payout(2)); p.Sequence != 2 {
		t.Errorf("%+v", p)
	}
	if a := s.audit(); len(a.Passages) != 2 {
		t.Errorf("%d passages", len(a.Passages))
	}
}

// K4: an operator that contradicts itself about the ramp stops the gateway, which keeps what was
// before it.
func TestOperatorContradictsItselfAboutTheRamp(t *testing.T) {
	r := ledgertest.NewRamp("cypherium")
	first, second := r.Deposit(1, 100, start+60), r.Burn(2, 50, start+60)
	clusters(t, func(t *testing.T, c *cluster) {
		for _, tt := range []struct {
			name string
			say  *ledger.RampRecord
			err  error
		}{
			{"one passage in two ways", r.Record(r.Deposit(7, 1, start+60), 2, (start+1)*1000), kafkaledger.ErrOperator},
			{"one passage at two times", r.Record(first, 1, (start+1)*1000), kafkaledger.ErrOperator},
			{"a passage too many", r.Record(r.Deposit(7, 1, start+60), 4, (start+2)*1000), kafkaledger.ErrGap},
			{"time goes back", r.Record(r.Deposit(7, 1, start+60), 3, start*1000), kafkaledger.ErrOperator},
			{"a crossing passes twice", r.Record(second, 3, (start+2)*1000), kafkaledger.ErrOperator},
			{"a crossing passes twice, otherwise", r.Record(r.Deposit(1, 99, start+60), 3, (start+2)*1000), kafkaledger.ErrOperator},
		} {
			t.Run(tt.name, func(t *testing.T) {
				l := newListener(t, c)
				said := []*ledger.RampRecord{r.Record(first, 1, start*1000), r.Record(second, 2, (start+1)*1000), tt.say}
				for _, record := range said {
					c.write(t, l.events, kafkaledger.PassageValue(record))
				}
				if err := l.why(); !errors.Is(err, tt.err) {
					t.Fatalf("%v, want %v", err, tt.err)
				}
				var n int64
				err := l.gatewayStore.View(t.Context(), func(reader *store.Reader) error {
					return reader.QueryRow("SELECT COUNT(*) FROM kafka_crossings").Scan(&n)
				})
				if err != nil || n != 2 {
					t.Errorf("%d passages are kept, %v", n, err)
				}
			})
		}
	})
}

// K5: what the operator did not sign, or what no honest one can, is counted and has no effect.
func TestPassagesOfNobody(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		s := newPort(t, c)
		r := s.ramp
		x := r.Deposit(7, 1, start+60)
		forged := r.Record(x, 1, start*1000)
		forged.Signature, _ = s.Mallory.Sign(forged.Frame())
		foreign := r.Record(x, 1, start*1000)
		foreign.Passage.Ledger = "df"
		foreign.Signature, _ = s.Operator.Sign(foreign.Frame())
		c.write(t, s.events, kafkaledger.PassageValue(forged), kafkaledger.PassageValue(foreign),
			kafkaledger.PassageValue(r.Record(x, 1, (start+60)*1000)), []byte{kafkaledger.KindPassage})
		if p := s.cross(s.deposit(5)); p.Sequence != 1 {
			t.Errorf("%+v", p)
		}
		if n := s.gateway.Ignored(); n != 4 {
			t.Errorf("%d values are ignored", n)
		}
		c.write(t, s.commands, kafkaledger.PassageValue(forged)) // in the wrong topic
		s.settled()
		if n := s.host.Ignored(); n != 1 {
			t.Errorf("the host ignores %d values", n)
		}
	})
}
