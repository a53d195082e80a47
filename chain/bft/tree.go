package bft

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
)

// node is a block that has been executed and may become final.
type node struct {
	block chain.Block
	tuple chain.Tuple
	// parent is nil for the final block.
	parent *node
	// ends says that the block is a key block of this epoch.
	ends bool
}

func (n *node) height() uint64 { return n.tuple.Height }

// tree is the newest final block and all executed blocks that descend from it. A block stands
// in it only with its parent; one without a QC has no children, since a child carries it.
type tree struct {
	final *node
	nodes map[cypherlink.Hash]*node
}

func newTree(final *node) tree {
	return tree{final: final, nodes: map[cypherlink.Hash]*node{final.tuple.Block: final}}
}

func (t *tree) add(n *node) { t.nodes[n.tuple.Block] = n }

// above lists the blocks from the final one, excluded, up to n, oldest first.
func (t *tree) above(n *node) []*node {
	if n.height() <= t.final.height() {
		return nil
	}
	path := make([]*node, n.height()-t.final.height())
	for i := len(path) - 1; i >= 0; i-- {
		path[i], n = n, n.parent
	}
	return path
}

// finalize makes n the final block and drops every block that does not descend from it.
func (t *tree) finalize(n *node) {
	t.final = n
	n.parent = nil
	kept := map[cypherlink.Hash]*node{n.tuple.Block: n}
	for id, other := range t.nodes {
		if t.descends(other) {
			kept[id] = other
		}
	}
	t.nodes = kept
}

func (t *tree) descends(n *node) bool {
	for n != nil && n.height() > t.final.height() {
		n = n.parent
	}
	return n == t.final
}

// drop forgets a block without children.
func (t *tree) drop(n *node) { delete(t.nodes, n.tuple.Block) }
