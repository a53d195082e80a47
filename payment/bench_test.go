package payment

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow/followtest"
	"github.com/cypherlink/cypherlink/channels"
)

// crowdedChain is a chain that has one channel many times over, under other ids.
type crowdedChain struct {
	*followtest.Chain
	all []*channels.Channel
}

func (c *crowdedChain) Channels() ([]*channels.Channel, error) { return c.all, nil }

func (c *crowdedChain) View(id channels.ID, _ []cypherlink.Condition) (channels.View, error) {
	h := c.Head()
	at := binary.BigEndian.Uint64(id[:8])
	return channels.View{Channel: *c.all[at], Now: channels.Time{S: h.TimeMS / 1000, Height: h.Height}}, nil
}

// deaf are peers that answer nobody.
type deaf struct{}

func (deaf) Call(context.Context, cypherlink.ParticipantID, uint8, []byte) ([]byte, error) {
	return nil, errDown
}

// BenchmarkIdleTellers tells what memory a channel takes at a bank while nothing is paid over it: the teller
// with its goroutines, its Party, and what its Tellers know of it.
func BenchmarkIdleTellers(b *testing.B) {
	const many = 2000
	w := newChannelWorld(b, newNetwork(b, nil))
	template := channels.Channel{
		Banks: channels.InOrder([2]cypherlink.ParticipantID{w.a.id(), w.b.id()}), Asset: assetDCEP(),
		Limits: lanes().Limits, State: channels.Opened, Funds: [2]int64{funds, funds},
	}
	roll := w.chain.Registry()
	for i := range template.Banks {
		template.Accounts[i] = cypherlink.Account{Owner: template.Banks[i]}
		template.Lanes[i].Signers.Payer, _ = roll.Signer(template.Banks[i])
		template.Lanes[i].Signers.Payee, _ = roll.Signer(template.Banks[1-i])
	}
	crowd := &crowdedChain{Chain: w.chain}
	for i := range uint64(many) {
		c := template
		binary.BigEndian.PutUint64(c.ID[:8], i)
		for lane := range c.Lanes {
			c.Lanes[lane].Head = channels.Head{Hash: cypherlink.Hash(c.ID), Locks: channels.LockRoot(nil)}
		}
		crowd.all = append(crowd.all, &c)
	}
	b.ReportAllocs()
	for b.Loop() {
		s := w.open(w.a)
		o := w.tellersOptions(w.a, s)
		o.Chain, o.Peers, o.Lanes.Bands = crowd, deaf{}, nil
		before := living()
		t, err := NewTellers(o)
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- t.run(ctx, nil, func() {}) }()
		if err := t.ready(ctx); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(living()-before)/many/1024, "KiB/channel")
		stop()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// living is what the heap and the stacks hold after two collections.
func living() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
