package tap

import (
	"sync"

	"github.com/cypherlink/cypherlink"
)

// gate lets so many in at a time: of one client each, of all clients all.
type gate struct {
	each, all int

	mu     sync.Mutex
	inside map[cypherlink.Hash]int
	total  int
}

func newGate(each, all int) *gate {
	return &gate{each: each, all: all, inside: map[cypherlink.Hash]int{}}
}

// enter lets the client in, who leaves by what it returns, once; or it returns nil.
func (g *gate) enter(client cypherlink.Hash) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= g.all || g.inside[client] >= g.each {
		return nil
	}
	g.total++
	g.inside[client]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
		if g.inside[client]--; g.inside[client] == 0 {
			delete(g.inside, client)
		}
	}
}
