// Package state is what the committee chain decides on: registry, assets, accounts, custodies,
// and what crosses between the chain and external ledgers.
//
// Its noun is the Version: the state after one block, immutable. The registry of a version, at the
// time of the block that follows, says who may speak in it. Executing a block first returns every
// custody whose expiry has come, then applies the transactions by the rules of package ledger, and
// gives another version with the roots that the block's header has to name: of the state, a Merkle
// tree by which anybody can prove what it holds and what it does not (docs/state-tree.md), and of
// the feed, the RFC 6962 log of all events.
// Versions fork freely in memory; Commit makes one final and writes it, with block, proof,
// events and receipts, in one durable batch.
//
// It refuses to judge who may order blocks (chain, chain/bft), to run anything (chain/follow,
// chain/member), and to open a store that does not hang together.
// Sources: the whitepaper's account of the ledger; Libra's Jellyfish Merkle tree and
// Bernstein's crit-bit tree for the shape; RFC 6962 for the feed.
package state
