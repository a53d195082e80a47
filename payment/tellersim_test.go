package payment

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// laneSim is two banks, their channel, a chain and a network that loses, delays and repeats, from a seed:
// what happens is drawn, and after every event money is where it was.
type laneSim struct {
	*channelWorld
	random *rand.Rand
	banks  [2]*Connect
	who    [2]*player
	id     channels.ID
	sent   map[cypherlink.UETR]int // by the bank that pays
	number int
	check  func() // after every event
}

// conserved wants all DC/EP of the network to be in accounts and channels, and no bank to have less in a
// channel than nothing.
func (s *laneSim) conserved() {
	s.tb.Helper()
	total := int64(0)
	for _, who := range []*player{s.a, s.b, s.clearing} {
		has, _, err := s.chain.Balance(cypherlink.Account{Owner: who.id()}, assetDCEP())
		if err != nil {
			s.tb.Fatal(err)
		}
		total += int64(has)
	}
	all, err := s.chain.Channels()
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, c := range all {
		if c.State == channels.Closed {
			continue
		}
		total += c.Total()
		if c.Balance(channels.A) < 0 || c.Balance(channels.B) < 0 {
			s.tb.Fatalf("balances %d and %d", c.Balance(channels.A), c.Balance(channels.B))
		}
	}
	if total != 3*openingAmount {
		s.tb.Fatalf("%d in all, there were %d", total, 3*openingAmount)
	}
}

// weather makes the network as bad as drawn: of the talk of lanes so many in a hundred calls are lost,
// answered into nothing, or repeated, and all are late.
func (s *laneSim) weather(bad int) {
	random := rand.New(rand.NewPCG(s.random.Uint64(), 0))
	s.setFault(func(c call) ([]byte, error) {
		if c.kind != KindLane && c.kind != KindEndorse && c.kind != KindJoin && c.kind != KindCredit {
			return c.serve()
		}
		s.mu.Lock()
		luck, late := random.IntN(100), time.Duration(random.IntN(80))*time.Millisecond
		s.mu.Unlock()
		time.Sleep(late)
		switch {
		case luck < bad/2:
			return nil, errDown
		case luck < bad:
			_, _ = c.serve() // it arrives, and the answer does not
			return nil, errDown
		case luck < bad+bad/2:
			_, _ = c.serve() // twice
		}
		return c.serve()
	})
}

func (s *laneSim) restart(i int) {
	s.stop(s.who[i])
	time.Sleep(time.Duration(s.random.IntN(400)) * time.Millisecond)
	s.banks[i] = s.startBank(s.who[i])
}

func (s *laneSim) pay() {
	i := s.random.IntN(2)
	s.number++
	amount := fmt.Sprintf("%d.%02d", 1+s.random.IntN(400), s.random.IntN(100))
	s.sent[s.pays(s.banks[i], s.number, s.who[i], s.who[1-i], amount)] = i
}

func (s *laneSim) order(o Order) {
	i := s.random.IntN(2)
	s.number++
	key := fmt.Sprint("order-", s.number)
	_, _ = s.banks[i].Tellers.Order(s.tb.Context(), s.id, o, []byte(key), key) // a release may be refused
}

func (s *laneSim) step() {
	switch n := s.random.IntN(20); {
	case n < 11:
		s.pay()
	case n < 13:
		s.restart(s.random.IntN(2))
	case n < 15:
		s.weather(s.random.IntN(40))
	case n == 15:
		s.order(FundOrder{cypherlink.Amount(1 + s.random.IntN(1000))})
	case n == 16:
		s.order(ReleaseOrder{cypherlink.Amount(1 + s.random.IntN(1000))})
	default:
		time.Sleep(time.Duration(s.random.IntN(700)) * time.Millisecond)
	}
	s.check()
}

// ends brings good weather, and wants every payment to end, once, and both banks' books and the channel to
// say the same.
func (s *laneSim) ends() {
	s.tb.Helper()
	s.setFault(nil)
	var out [2]cypherlink.Amount // what each bank has paid
	for uetr, i := range s.sent {
		p := s.until(s.banks[i], uetr, StatusCompleted, StatusRejected, StatusAborted, StatusExpired)
		s.check()
		if p.Status == StatusCompleted {
			out[i] += p.Source.Amount
		}
	}
	s.eventually("the books say what the channel does", func() bool {
		for i := range s.banks {
			if got := s.books[s.who[i].id()].balance; got != out[1-i]-out[i] {
				return false
			}
		}
		return true
	})
	v, err := s.chain.View(s.id, nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	for i, who := range s.who {
		side, _ := v.Channel.Side(who.id())
		if got := v.Channel.Lanes[side].Head.Paid; got != out[i] {
			s.tb.Fatalf("%s has paid %d by the chain, and %d by its payments", who.Name, got, out[i])
		}
	}
}

// The banks' processes over a bad network, with crashes, from seeds.
func TestSimulatedChannels(t *testing.T) {
	seeds, steps := uint64(16), 60
	if testing.Short() {
		seeds, steps = 4, 40
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			l := lanes()
			l.JointAnchors = seed%2 == 1
			playLanes(t, l, func(t *testing.T, w *channelWorld, a, b *Connect) {
				s := &laneSim{
					channelWorld: w, random: rand.New(rand.NewPCG(seed, 1)), banks: [2]*Connect{a, b},
					who: [2]*player{w.a, w.b}, sent: map[cypherlink.UETR]int{},
				}
				s.check = s.conserved
				s.id = s.opened(a, b)
				for range steps {
					s.step()
				}
				s.ends()
			})
		})
	}
}
