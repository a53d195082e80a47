package state

import (
	"sync"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

// cacheSize is how many verified transactions each half of the cache holds at most.
const cacheSize = 1 << 16

// verified remembers the transactions whose signature is right, by the hash over both, so
// that a member checks each once although it sees it at admission, in a block that it builds
// and in a block that it votes for. The older half is forgotten when the newer is full.
type verified struct {
	mu           sync.Mutex
	newer, older map[cypherlink.Hash]struct{}
}

func (v *verified) has(h cypherlink.Hash) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.newer[h]; ok {
		return true
	}
	_, ok := v.older[h]
	return ok
}

func (v *verified) add(h cypherlink.Hash) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.newer) >= cacheSize || v.newer == nil {
		v.newer, v.older = make(map[cypherlink.Hash]struct{}, 1024), v.newer
	}
	v.newer[h] = struct{}{}
}

// Verify authenticates the transactions that it has not seen before, in one batch. The result
// has a refusal of package ledger, or nil, at each transaction's place. Any goroutine may
// call it.
func (s *State) Verify(txs []*Transaction) []error {
	errs := make([]error, len(txs))
	var commands []*ledger.SignedCommand
	var places []int
	for i, tx := range txs {
		if !s.verified.has(tx.Hash) {
			commands, places = append(commands, tx.Command), append(places, i)
		}
	}
	for j, err := range s.charter.Authenticate(commands...) {
		i := places[j]
		if errs[i] = err; err == nil {
			s.verified.add(txs[i].Hash)
		}
	}
	return errs
}
