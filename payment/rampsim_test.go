package payment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// rampSim is a laneSim whose value comes in over the ramp and leaves over it, with custodies beside the
// channel, and with a bank that hands in whatever others have handed in, as it is and changed.
type rampSim struct {
	*laneSim
	sea       *rampWorld
	ramps     [2]*connector.Ramp
	stopRamp  [2]func()
	nonce     uint64
	crossings [2][]ledger.Crossing
	custodies []custodyOf
}

// custodyOf is a custody, and what confirms it.
type custodyOf struct {
	subject  validator.Subject
	preimage cypherlink.Preimage
}

func (s *rampSim) startRamps() {
	for i := range s.who {
		s.ramps[i], s.stopRamp[i] = s.sea.startRamp(s.who[i])
	}
}

// restart stops all of a bank's processes, and starts them again.
func (s *rampSim) restart(i int) {
	s.stopRamp[i]()
	s.laneSim.restart(i)
	s.ramps[i], s.stopRamp[i] = s.sea.startRamp(s.who[i])
}

// begins lets so much leave the asset's ledger. A bank whose ramp has crashed is started again.
func (s *rampSim) begins(i int, asset cypherlink.Asset, amount cypherlink.Amount, within int64) {
	s.tb.Helper()
	s.nonce++
	x := ledger.Crossing{
		Owner: s.who[i].id(), Asset: asset, Amount: amount, Expiry: time.Now().Unix() + within, Nonce: s.nonce,
	}
	for {
		err := s.ramps[i].Begin(s.tb.Context(), x)
		if err == nil {
			break
		}
		if !errors.Is(err, connector.ErrStopped) {
			s.tb.Fatal(err)
		}
		s.restart(i)
	}
	s.crossings[i] = append(s.crossings[i], x)
}

// crossed waits until all that has begun has ended.
func (s *rampSim) crossed() {
	s.tb.Helper()
	for i := range s.who {
		for _, x := range s.crossings[i] {
			s.eventually("the crossing ends", func() bool {
				_, stage, err := s.ramps[i].Crossing(context.Background(), x.ID(s.genesis.Network()))
				return err == nil && (stage == connector.Arrived || stage == connector.Lapsed)
			})
		}
	}
}

// crosses lets some amount cross: more than there is lapses.
func (s *rampSim) crosses() {
	asset := backed()[s.random.IntN(2)]
	if s.random.IntN(2) == 0 {
		asset = backing(asset)
	}
	amount := cypherlink.Amount(1 + s.random.IntN(openingAmount/4))
	if s.random.IntN(2) == 0 {
		amount = cypherlink.Amount(1 + s.random.IntN(10_000))
	}
	s.begins(s.random.IntN(2), asset, amount, int64(3+s.random.IntN(40)))
}

// throw puts a command into the chain's pool.
func (s *rampSim) throw(by *player, c ledger.Command) {
	s.chain.Put(state.Command{Signed: s.signed(by, s.genesis.Chain(), c)})
}

func (s *rampSim) signed(by *player, to cypherlink.LedgerID, c ledger.Command) *ledger.SignedCommand {
	s.nonce++
	signed := &ledger.SignedCommand{
		Network: s.genesis.Network(), Ledger: to, Signer: by.id(), Sequence: 1<<40 + s.nonce, Command: c,
	}
	var err error
	if signed.Signature, err = by.identity.Sign(signed.Frame()); err != nil {
		s.tb.Fatal(err)
	}
	return signed
}

// prepares takes an amount into custody: some of them are refused for want of funds.
func (s *rampSim) prepares() {
	i := s.random.IntN(2)
	s.number++
	c := custodyOf{preimage: cypherlink.Preimage(wire.Sum("test/preimage", fmt.Append(nil, s.number)))}
	c.subject = validator.Subject{
		Terms: wire.Sum("test/terms", fmt.Append(nil, s.number)), Condition: c.preimage.Condition(),
		Fields: terms.Leg{
			Asset: backed()[s.random.IntN(2)], Amount: cypherlink.Amount(1 + s.random.IntN(10_000_00)),
			Debit: cypherlink.Account{Owner: s.who[i].id()}, Credit: cypherlink.Account{Owner: s.who[1-i].id()},
			Expiry: time.Now().Unix() + 10 + int64(s.random.IntN(10)),
		},
	}
	p := &ledger.Prepare{Subject: c.subject, Packet: []byte("packet")}
	for _, v := range s.validators[1:3] {
		p.Verdicts = append(p.Verdicts, *s.verdict(s.tb, v, c.subject, validator.Approved))
	}
	s.throw(s.who[i], p)
	s.custodies = append(s.custodies, c)
}

// confirms hands in a preimage: perhaps before there is a custody, perhaps too late.
func (s *rampSim) confirms() {
	if len(s.custodies) == 0 {
		return
	}
	c := s.custodies[s.random.IntN(len(s.custodies))]
	s.throw(s.mallory, &ledger.Confirm{
		ID: ledger.NewCustodyID(s.genesis.Network(), c.subject.Terms, c.subject.Leg), Preimage: c.preimage,
	})
}

// repeats is Mallory: a command once more as it was, or what left once more, under Mallory's own signature,
// with another number, amount or owner.
func (s *rampSim) repeats() {
	s.sea.event.Lock()
	all := s.sea.commands
	s.sea.event.Unlock()
	if len(all) == 0 {
		return
	}
	c := all[s.random.IntN(len(all))]
	if enter, ok := c.Command.(*ledger.Enter); ok && s.random.IntN(3) > 0 {
		forged := *enter
		switch s.random.IntN(5) {
		case 0:
			forged.Nonce += 1 << 30
		case 1:
			forged.Amount++
		case 2:
			forged.Owner = s.mallory.id()
		case 3:
			forged.To++
		}
		c = s.signed(s.mallory, c.Ledger, &forged)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = s.sea.cross(ctx, c) // refused or not: the scales tell
}

func (s *rampSim) rain() {
	bad := s.random.IntN(60)
	s.weather(bad)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sea.bad = bad
}

func (s *rampSim) step() {
	switch n := s.random.IntN(20); {
	case n < 5:
		s.pay()
	case n < 9:
		s.crosses()
	case n < 11:
		s.prepares()
	case n == 11:
		s.confirms()
	case n < 14:
		s.repeats()
	case n == 14:
		s.restart(s.random.IntN(2))
	case n == 15:
		s.rain()
	case n == 16:
		s.order(FundOrder{cypherlink.Amount(1 + s.random.IntN(1000))})
	case n == 17:
		s.order(ReleaseOrder{cypherlink.Amount(1 + s.random.IntN(1000))})
	default:
		time.Sleep(time.Duration(s.random.IntN(1500)) * time.Millisecond)
	}
}

// fills brings in what the channel is opened with.
func (s *rampSim) fills() {
	s.tb.Helper()
	for i := range s.who {
		for _, asset := range backed() {
			s.begins(i, backing(asset), 3*funds, 60)
		}
	}
	s.crossed()
}

// empties closes the channel and takes everything off the chain: then nothing is in escrow, and each bank
// has outside what it had, and what it was paid, less what it has paid.
func (s *rampSim) empties() {
	s.tb.Helper()
	s.mu.Lock()
	s.sea.bad = 0
	s.mu.Unlock()
	for i := range s.who {
		s.restart(i) // whose ramp has crashed
	}
	s.ends()
	s.crossed()
	want := map[ledger.Balance]bool{}
	net := map[cypherlink.Asset]cypherlink.Amount{} // what A has gained
	net[assetDCEP()] = s.books[s.who[0].id()].balance
	time.Sleep(30 * time.Second) // the last custody
	var err error
	s.chain.Read(func(final *state.State) {
		err = final.Custodies(func(c ledger.Custody) bool {
			f := &c.Subject.Fields
			switch {
			case c.State == ledger.Prepared:
				s.tb.Errorf("custody %s stays prepared", c.ID)
			case c.State == ledger.Confirmed && f.Credit.Owner == s.who[0].id():
				net[f.Asset] += f.Amount
			case c.State == ledger.Confirmed:
				net[f.Asset] -= f.Amount
			}
			return true
		})
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	if _, err := s.banks[0].Tellers.Order(s.tb.Context(), s.id, CloseOrder{}, []byte("close"), "close"); err != nil {
		s.tb.Fatal(err)
	}
	s.eventually("the channel is closed", func() bool {
		v, err := s.chain.View(s.id, nil)
		return err == nil && v.Channel.State == channels.Closed
	})
	for i, who := range s.who {
		for _, asset := range backed() {
			amount, _, err := s.chain.Balance(cypherlink.Account{Owner: who.id()}, asset)
			if err != nil {
				s.tb.Fatal(err)
			}
			if amount > 0 {
				s.begins(i, asset, amount, 60)
			}
			has := openingAmount + net[asset]
			if i == 1 {
				has = openingAmount - net[asset]
			}
			want[ledger.Balance{Account: cypherlink.Account{Owner: who.id()}, Asset: backing(asset), Amount: has}] = true
		}
	}
	s.crossed()
	s.sea.event.Lock()
	defer s.sea.event.Unlock()
	for asset, left := range s.sea.escrow {
		if left != 0 {
			s.tb.Errorf("%d of %s stay in escrow", left, asset)
		}
	}
	balances, err := s.sea.external.Balances(context.Background())
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, b := range balances {
		delete(want, b)
	}
	if len(want) > 0 {
		s.tb.Errorf("not so in the end: %v, but %v", want, balances)
	}
}

// The banks' processes with their ramps, over a bad network, with crashes, from seeds: value comes in from an
// external ledger, goes into the channel and into custodies, is paid, released, and leaves again. After every
// block and every command at the external ledger, for each asset: escrow = accounts + custodies + channels +
// what has left either ledger and not come in at the other.
func TestSimulatedRamp(t *testing.T) {
	seeds, steps := uint64(8), 80
	if testing.Short() {
		seeds, steps = 1, 60
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRampWorld(t, seed)
				w.lanes.JointAnchors = seed%2 == 1
				defer w.close()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go w.blocks(ctx)
				s := &rampSim{sea: w, laneSim: &laneSim{
					channelWorld: w.channelWorld, random: rand.New(rand.NewPCG(seed, 1)), who: [2]*player{w.a, w.b},
					sent: map[cypherlink.UETR]int{}, check: func() {},
				}}
				s.banks[0], s.banks[1] = w.startBank(w.a), w.startBank(w.b)
				defer w.stopAll()
				s.startRamps()
				defer func() { s.stopRamp[0](); s.stopRamp[1]() }()
				s.fills()
				s.id = s.opened(s.banks[0], s.banks[1])
				for range steps {
					s.step()
				}
				s.empties()
			})
		})
	}
}
