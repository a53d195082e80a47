package kafkaledger_test

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// queue is the host's in its outbox.
func (s *site) queue() string { return "kafkaledger/" + string(s.Ledger) }

// unsent is what the host has done and not yet published.
func (s *site) unsent() []store.Message {
	s.t.Helper()
	var page []store.Message
	err := s.hostStore.View(s.t.Context(), func(r *store.Reader) (err error) {
		page, err = r.Pending(s.queue(), 100)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return page
}

// restartHost stops the host and makes another of its store.
func (s *site) restartHost() {
	s.t.Helper()
	if err := s.stopHost(); err != nil {
		s.t.Error(err)
	}
	s.startHost()
}

// K2: a host that ends when the effects of commands are durable, and nobody has heard of them,
// publishes them when it runs again. The commands are not applied again.
func TestHostEndsBeforeItPublishes(t *testing.T) {
	c := embedded(t)
	s := newSite(t, c, ledgertest.NewWorld())
	silent := c.running.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: s.events, Err: kerr.NotLeaderForPartition, Count: -1,
	})
	p := s.Payment("one", 700, start+20)
	prepare, confirm := s.Prepare(p), s.Confirm(s.Bob, p)
	poor := s.Prepare(s.Payment("poor", ledgertest.Opening, start+20))
	c.write(t, s.commands, kafkaledger.CommandValue(prepare), kafkaledger.CommandValue(poor),
		kafkaledger.CommandValue(confirm))
	for ctx := s.context(); len(s.unsent()) < 3; {
		if ctx.Err() != nil {
			t.Fatalf("%d of 3 answers wait", len(s.unsent()))
		}
	}
	if n := c.length(t, s.events); n > 0 {
		t.Fatalf("%d answers are out", n)
	}
	s.restartHost()
	silent.Remove()
	s.must(prepare)
	s.must(confirm)
	s.refused(poor, ledger.CodeFunds)
	s.settled()
	for ctx := s.context(); len(s.unsent()) > 0; { // the host learns last that all are out
		if ctx.Err() != nil {
			t.Fatalf("%d answers wait", len(s.unsent()))
		}
	}
	if a := s.audit(); a.Events != 2 {
		t.Errorf("%d events", a.Events)
	}
}

// A host that ends when it has published, and does not know that it has, publishes again: no
// gateway takes that for news, neither one that has heard it nor one that begins.
func TestHostEndsBeforeItKnowsThatItPublished(t *testing.T) {
	c := embedded(t)
	s := newSite(t, c, ledgertest.NewWorld())
	p := s.Payment("one", 700, start+20)
	s.must(s.Prepare(p))
	s.must(s.Confirm(s.Bob, p))
	poor := s.Prepare(s.Payment("poor", ledgertest.Opening, start+20))
	s.refused(poor, ledger.CodeFunds)
	s.settled()
	if err := s.stopHost(); err != nil {
		t.Fatal(err)
	}
	said := c.read(t, s.events)
	err := s.hostStore.Update(t.Context(), func(tx *store.Tx) error {
		for _, value := range said {
			if err := tx.Enqueue(s.queue(), nil, value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.startHost()
	s.settled()
	if n := c.length(t, s.events); n != int64(2*len(said)+1) {
		t.Errorf("%d values, each of %d twice and an answer are %d", n, len(said), 2*len(said)+1)
	}
	late := kafkaledger.NewGateway(open(t), s.gatewayOptions())
	stop := running(late.Run, late.Close)
	for _, g := range []*kafkaledger.Gateway{s.gateway, late} {
		var states []ledger.State
		for e, err := range g.Events(s.context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			if states = append(states, e.Receipt.Custody.State); len(states) == 2 {
				break
			}
		}
		if !slices.Equal(states, []ledger.State{ledger.Prepared, ledger.Confirmed}) {
			t.Errorf("%v", states)
		}
	}
	s.must(s.Prepare(s.Payment("two", 1, start+20)))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if a := s.audit(); a.Events != 3 {
		t.Errorf("%d events", a.Events)
	}
}
