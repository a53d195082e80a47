package bft_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
)

// chaos is one seed's committee, network and faults.
func chaos(t *testing.T, seed uint64, bls bool) *sim {
	t.Helper()
	dice := rand.New(rand.NewPCG(seed, 1))
	n := []int{4, 4, 4, 5, 7}[dice.IntN(5)]
	cfg := config{n: n, real: bls, change: func(k *chain.KeyBlock) {
		k.Depth = uint8(2 + dice.IntN(2))
		k.TermViews = []uint16{1, 1, 2, 4}[dice.IntN(4)]
	}}
	s := newSim(t, seed, cfg)
	s.loss = []float64{0, 0.01, 0.1, 0.3}[dice.IntN(4)]
	s.duplicates = []float64{0, 0.05, 0.3}[dice.IntN(3)]
	s.crashes = []float64{0, 0, 0.0005, 0.003}[dice.IntN(4)]
	widest := []int{10, 50, 400}[dice.IntN(3)]
	s.delay = func() time.Duration { return time.Duration(2+s.random.IntN(widest)) * time.Millisecond }
	s.restart = func() time.Duration { return time.Duration(s.random.IntN(3000)) * time.Millisecond }
	for _, m := range s.members {
		m.skew = time.Duration(dice.IntN(200)-100) * time.Millisecond
	}
	if dice.IntN(2) == 0 {
		corrupt(s.members[dice.IntN(n)])
	}
	s.partition(dice)
	return s
}

// partition splits the network now and then, until it is healed.
func (s *sim) partition(dice *rand.Rand) {
	if dice.IntN(2) == 0 {
		return
	}
	var split func()
	end := s.now.Add(faulty)
	split = func() {
		if !s.now.Before(end) {
			return
		}
		if s.cut == nil {
			side := make([]bool, len(s.members))
			for i := range side {
				side[i] = s.random.IntN(2) == 0
			}
			oneWay := s.random.IntN(3) == 0
			s.cut = func(from, to int) bool { return side[from] != side[to] && (!oneWay || side[from]) }
		} else {
			s.cut = nil
		}
		s.after(time.Duration(500+s.random.IntN(4000))*time.Millisecond, split)
	}
	s.after(time.Second, split)
}

// faulty is how long the faults last.
const faulty = 25 * time.Second

// heal ends every fault but mallory's.
func (s *sim) heal() {
	s.cut, s.loss, s.duplicates, s.crashes = nil, 0, 0, 0
	s.delay = func() time.Duration { return time.Duration(5+s.random.IntN(10)) * time.Millisecond }
	s.startAll()
}

// Agreement, order, exactly-once delivery, sound proofs and no second signature hold at every
// event (sim.apply, watchedKey); progress returns when the faults end.
func TestChaos(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 8
	}
	for seed := range uint64(seeds) {
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runChaos(t, seed, false) })
		if !ok {
			return
		}
	}
}

func runChaos(t *testing.T, seed uint64, bls bool) {
	t.Helper()
	s := chaos(t, seed, bls)
	s.startAll()
	var txs [][]byte
	for at := time.Duration(0); at < faulty; at += 700 * time.Millisecond {
		tx := fmt.Appendf(nil, "tx %d", len(txs))
		txs = append(txs, tx)
		s.after(at, func() {
			for _, m := range s.members {
				m.submit(tx)
			}
		})
	}
	s.run(faulty)
	before := s.height()
	s.heal()
	s.reaches(10, 90*time.Second)
	done := func() bool {
		for _, m := range s.honest() {
			if !m.up || m.observer != nil || m.alarm != nil || m.pending() {
				return false
			}
		}
		return true
	}
	if !s.runUntil(30*time.Second, done) && !t.Failed() {
		t.Errorf("seed %d: transactions are lost, or a member does not vote", seed)
	}
	for _, e := range s.faults {
		if i, err := s.VerifyEvidence(e); err != nil || s.members[i].actor == nil {
			t.Errorf("seed %d: evidence against honest member %d: %v", seed, i, err)
		}
	}
	t.Logf("seed %d: n %d, D %d, height %d then %d, %d faults", seed, len(s.members),
		s.KeyBlock().Depth, before, s.height(), len(s.faults))
}
