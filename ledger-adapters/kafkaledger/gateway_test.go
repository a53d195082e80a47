package kafkaledger_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// listener is a gateway alone: the test is the operator.
type listener struct {
	*site
	result chan error // of Run
	cancel context.CancelFunc
}

func newListener(t *testing.T, c *cluster) *listener {
	t.Helper()
	s := &site{World: ledgertest.NewWorld(), t: t, cluster: c, gatewayStore: open(t)}
	s.commands, s.events = c.topics(t)
	l := &listener{site: s}
	l.start()
	t.Cleanup(func() { _ = l.end() })
	return l
}

func (l *listener) start() {
	l.t.Helper()
	gateway, result := kafkaledger.NewGateway(l.gatewayStore, l.gatewayOptions()), make(chan error, 1)
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	l.gateway, l.result = gateway, result
	go func() {
		err := gateway.Run(ctx)
		if err := gateway.Close(); err != nil {
			l.t.Error(err)
		}
		result <- err
		close(result)
	}()
}

// end stops the gateway and returns why it had stopped.
func (l *listener) end() error {
	l.cancel()
	return <-l.result
}

// why waits until the gateway stops by itself.
func (l *listener) why() error {
	l.t.Helper()
	select {
	case err := <-l.result:
		return err
	case <-time.After(20 * time.Second):
		l.t.Fatal("the gateway goes on")
		return nil
	}
}

// say makes the operator's record of a custody.
func (l *listener) say(c ledger.Custody, sequence uint64, second int64) *ledger.Record {
	r := &ledger.Record{Network: l.Network, Receipt: ledger.Receipt{
		Ledger: l.Ledger, Custody: c, Sequence: sequence, TimeMS: second * 1000,
	}}
	r.Signature, _ = l.Operator.Sign(r.Frame())
	return r
}

func (l *listener) custody(p ledgertest.Payment, state ledger.State) ledger.Custody {
	c := ledger.Custody{ID: l.ID(p), Subject: p.Subject, Packet: p.Packet, State: state}
	if state == ledger.Confirmed {
		c.Preimage = p.Preimage
	}
	return c
}

// write puts records into the events topic.
func (l *listener) tell(records ...*ledger.Record) {
	l.t.Helper()
	var values [][]byte
	for _, r := range records {
		values = append(values, kafkaledger.RecordValue(r))
	}
	l.cluster.write(l.t, l.events, values...)
}

// hears waits until the gateway has that many events.
func (l *listener) hears(n int) []ledger.Event {
	l.t.Helper()
	var events []ledger.Event
	for e, err := range l.gateway.Events(l.context(), 0) {
		if err != nil {
			l.t.Fatal(err)
		}
		if events = append(events, e); len(events) == n {
			return events
		}
	}
	l.t.Fatalf("%d events, want %d", len(events), n)
	return nil
}

// K4: an operator that contradicts itself stops the gateway, which keeps what was before it.
func TestOperatorContradictsItself(t *testing.T) {
	tests := []struct {
		name string
		say  func(l *listener, p, q ledgertest.Payment) *ledger.Record
		err  error
	}{
		{"one event in two ways", func(l *listener, _, q ledgertest.Payment) *ledger.Record {
			return l.say(l.custody(q, ledger.Prepared), 2, start+1)
		}, kafkaledger.ErrOperator},
		{"one event at two times", func(l *listener, p, _ ledgertest.Payment) *ledger.Record {
			return l.say(l.custody(p, ledger.Prepared), 1, start+1)
		}, kafkaledger.ErrOperator},
		{"an event too many", func(l *listener, _, q ledgertest.Payment) *ledger.Record {
			return l.say(l.custody(q, ledger.Prepared), 4, start+2)
		}, kafkaledger.ErrGap},
		{"time goes back", func(l *listener, _, q ledgertest.Payment) *ledger.Record {
			return l.say(l.custody(q, ledger.Prepared), 3, start)
		}, kafkaledger.ErrOperator},
		{"a custody ends twice", func(l *listener, p, _ ledgertest.Payment) *ledger.Record {
			return l.say(l.custody(p, ledger.Returned), 3, start+2)
		}, kafkaledger.ErrOperator},
		{"a custody begins twice", func(l *listener, p, _ ledgertest.Payment) *ledger.Record {
			return l.say(l.custody(p, ledger.Prepared), 3, start+2)
		}, kafkaledger.ErrOperator},
		{"a custody ends that never began", func(l *listener, _, q ledgertest.Payment) *ledger.Record {
			return l.say(l.custody(q, ledger.Returned), 3, start+2)
		}, kafkaledger.ErrOperator},
		{"a custody is absent after it began", func(l *listener, p, _ ledgertest.Payment) *ledger.Record {
			return l.say(ledger.Custody{ID: l.ID(p)}, 2, start+2)
		}, kafkaledger.ErrOperator},
		{"a custody is absent after events that nobody heard", func(
			l *listener, _, q ledgertest.Payment,
		) *ledger.Record {
			return l.say(ledger.Custody{ID: l.ID(q)}, 3, start+2)
		}, kafkaledger.ErrGap},
	}
	clusters(t, func(t *testing.T, c *cluster) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				l := newListener(t, c)
				p, q := l.Payment("one", 700, start+20), l.Payment("two", 300, start+20)
				l.tell(
					l.say(l.custody(p, ledger.Prepared), 1, start),
					l.say(l.custody(p, ledger.Confirmed), 2, start+1),
					tt.say(l, p, q),
				)
				if err := l.why(); !errors.Is(err, tt.err) {
					t.Fatalf("%v, want %v", err, tt.err)
				}
				_, err := l.gateway.Submit(l.context(), l.Prepare(q))
				if !errors.Is(err, kafkaledger.ErrStopped) || !errors.Is(err, tt.err) {
					t.Errorf("submit: %v", err)
				}
				l.start()
				if events := l.hears(2); events[1].Receipt.Custody.State != ledger.Confirmed {
					t.Errorf("%+v", events)
				}
				if err := l.why(); !errors.Is(err, tt.err) {
					t.Errorf("after a restart: %v, want %v", err, tt.err)
				}
			})
		}
	})
}

// A custody that ends with another content than it began with is a contradiction too.
func TestCustodyChangesItsContent(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		for name, edit := range map[string]func(*ledger.Custody){
			"amount": func(c *ledger.Custody) { c.Subject.Fields.Amount++ },
			"packet": func(c *ledger.Custody) { c.Packet = []byte("another") },
		} {
			l := newListener(t, c)
			p := l.Payment("one", 700, start+20)
			changed := l.custody(p, ledger.Returned)
			edit(&changed)
			l.tell(l.say(l.custody(p, ledger.Prepared), 1, start), l.say(changed, 2, start))
			if err := l.why(); !errors.Is(err, kafkaledger.ErrOperator) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// What was said before may be said again, by the same or by the operator's next key.
func TestSaidAgain(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		l := newListener(t, c)
		p := l.Payment("one", 700, start+20)
		prepared := l.say(l.custody(p, ledger.Prepared), 1, start)
		returned := l.say(l.custody(p, ledger.Returned), 2, start+1)
		absent := l.say(ledger.Custody{ID: l.ID(p)}, 0, start)
		l.tell(absent, prepared, prepared, returned, prepared, returned, absent)
		l.hears(2)
		q := l.Payment("two", 700, start+20)
		l.tell(l.say(l.custody(q, ledger.Prepared), 3, start+2))
		events := l.hears(3)
		if events[2].Receipt.Custody.ID != l.ID(q) {
			t.Errorf("%+v", events[2])
		}
		if err := l.end(); err != nil {
			t.Error(err)
		}
	})
}

// K5: what somebody else writes into the events topic has no effect.
func TestGarbageInEvents(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		l := newListener(t, c)
		p := l.Payment("one", 700, start+20)
		command := l.Prepare(p)
		forged := l.say(l.custody(p, ledger.Confirmed), 1, start)
		forged.Signature, _ = l.Mallory.Sign(forged.Frame())
		elsewhere := l.say(l.custody(p, ledger.Prepared), 1, start)
		elsewhere.Receipt.Ledger = "other"
		elsewhere.Signature, _ = l.Operator.Sign(elsewhere.Frame())
		foreign := l.word()
		foreign.Network[0]++
		garbage := [][]byte{
			{},
			{kafkaledger.KindRecord},
			{kafkaledger.KindRefusal},
			{77},
			bytes.Repeat([]byte{kafkaledger.KindRecord}, kafkaledger.MaxValue+1),
			kafkaledger.CommandValue(command),
			kafkaledger.RecordValue(forged), kafkaledger.RecordValue(elsewhere),
			kafkaledger.RefusalValue(l.word(), l.Mallory, command, ledger.CodeFunds),
			kafkaledger.RefusalValue(foreign, l.Operator, command, ledger.CodeFunds),
		}
		done := make(chan error, 1)
		go func() {
			_, err := l.gateway.Submit(l.context(), command)
			done <- err
		}()
		for c.length(t, l.commands) == 0 { // the command is not out yet
		}
		l.cluster.write(t, l.events, garbage...)
		l.tell(l.say(l.custody(p, ledger.Prepared), 1, start))
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if events := l.hears(1); events[0].Receipt.Custody.State != ledger.Prepared {
			t.Errorf("%+v", events[0])
		}
		if got := l.gateway.Ignored(); got != uint64(len(garbage)) {
			t.Errorf("%d of %d values were ignored", got, len(garbage))
		}
		// the operator's own refusal, and a refusal of another command
		other := l.Prepare(l.Payment("two", 700, start+20))
		go func() {
			_, err := l.gateway.Submit(l.context(), other)
			done <- err
		}()
		l.cluster.write(t, l.events,
			kafkaledger.RefusalValue(l.word(), l.Operator, command, ledger.CodeFunds))
		for c.length(t, l.commands) == 1 {
		}
		l.cluster.write(t, l.events,
			kafkaledger.RefusalValue(l.word(), l.Operator, other, ledger.CodeExpiry))
		if err := <-done; cypherlink.ErrorCode(err) != ledger.CodeExpiry {
			t.Fatal(err)
		}
	})
}

// An absence that was told to an earlier question is not taken for the answer to a later one.
func TestOldAbsence(t *testing.T) {
	clusters(t, func(t *testing.T, c *cluster) {
		l := newListener(t, c)
		id := l.ID(l.Payment("one", 700, start+20))
		ask := func(answer func()) ledger.Receipt {
			asked := c.length(t, l.commands)
			done := make(chan ledger.Receipt, 1)
			go func() {
				r, err := l.gateway.Lookup(l.context(), id)
				if err != nil {
					t.Error(err)
				}
				done <- r
			}()
			for c.length(t, l.commands) == asked {
			}
			answer()
			return <-done
		}
		old := l.say(ledger.Custody{ID: id}, 0, start)
		r := ask(func() { l.tell(old) })
		if r.TimeMS != start*1000 {
			t.Fatalf("%+v", r)
		}
		r = ask(func() { l.tell(l.say(ledger.Custody{ID: id}, 0, start+10)) })
		if r.TimeMS != (start+10)*1000 {
			t.Fatalf("%+v", r)
		}
		other := l.custody(l.Payment("two", 700, start+60), ledger.Prepared)
		r = ask(func() {
			l.tell(old, l.say(other, 1, start+20))
			l.hears(1) // and so the old answer
			l.tell(l.say(ledger.Custody{ID: id}, 1, start+30))
		})
		if r.TimeMS != (start+30)*1000 || r.Custody.State != ledger.Absent || r.Sequence != 1 {
			t.Fatalf("%+v", r)
		}
	})
}

func TestCommandWithoutAForm(t *testing.T) {
	c := embedded(t)
	l := newListener(t, c)
	tests := map[string]func(*ledger.SignedCommand){
		"no command": func(c *ledger.SignedCommand) { c.Command = nil },
		"a packet too large": func(c *ledger.SignedCommand) {
			c.Command.(*ledger.Prepare).Packet = make([]byte, ledger.MaxPacket+1)
		},
		"no ledger": func(c *ledger.SignedCommand) { c.Ledger = "" },
	}
	for name, edit := range tests {
		command := l.Prepare(l.Payment("one", 700, start+20))
		edit(command)
		_, err := l.gateway.Submit(l.context(), command)
		if cypherlink.ErrorCode(err) != ledger.CodeMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := c.length(t, l.commands); n != 0 {
		t.Errorf("%d commands were written", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for range l.gateway.Events(ctx, math.MaxUint64) {
		t.Error("an event after the last possible cursor")
	}
}

func TestTopics(t *testing.T) {
	c := embedded(t)
	t.Run("several partitions", func(t *testing.T) {
		transport := &kafka.Transport{}
		defer transport.CloseIdleConnections()
		client := kafka.Client{Addr: kafka.TCP(c.broker.Addresses...), Transport: transport}
		response, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: "wide", NumPartitions: 3, ReplicationFactor: 1}},
		})
		if err != nil || response.Errors["wide"] != nil {
			t.Fatal(err, response)
		}
		s := &site{World: ledgertest.NewWorld(), t: t, cluster: c, commands: "wide", events: "wide"}
		g := kafkaledger.NewGateway(open(t), s.gatewayOptions())
		err = g.Run(s.context())
		if !errors.Is(err, kafkaledger.ErrTopic) || !strings.Contains(err.Error(), "3 partitions") {
			t.Errorf("%v", err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("made twice", func(t *testing.T) {
		for range 2 {
			if err := kafkaledger.CreateTopics(t.Context(), c.broker, 1, "again"); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("made when the cluster is ready", func(t *testing.T) {
		notYet := c.running.Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.BrokerNotAvailable},
			kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.LeaderNotAvailable},
		)
		if err := kafkaledger.CreateTopics(t.Context(), c.broker, 1, "soon"); err != nil {
			t.Error(err)
		}
		if notYet.Hits() != 2 {
			t.Errorf("asked %d times too early", notYet.Hits())
		}
	})
	t.Run("made with too many copies", func(t *testing.T) {
		if err := kafkaledger.CreateTopics(t.Context(), c.broker, 3, "copies"); err == nil {
			t.Error("three copies on one broker")
		}
	})
	t.Run("shorter than what was read", func(t *testing.T) {
		l := newListener(t, c)
		p := l.Payment("one", 700, start+20)
		l.tell(l.say(l.custody(p, ledger.Prepared), 1, start))
		l.hears(1)
		if err := l.end(); err != nil {
			t.Fatal(err)
		}
		err := l.gatewayStore.Update(t.Context(), func(tx *store.Tx) error {
			return tx.SetOffset("kafkaledger/"+string(l.Ledger)+"/"+l.events, 0, 5)
		})
		if err != nil {
			t.Fatal(err)
		}
		l.start()
		if err := l.why(); !errors.Is(err, kafkaledger.ErrTopic) {
			t.Errorf("%v", err)
		}
	})
}
