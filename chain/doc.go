// Package chain holds the objects of the committee chain and decides what they prove.
//
// Its noun is the block: a header of fixed layout, the certificate of its parent, and a
// payload of opaque transactions. A committee, made of a key block, orders blocks; a quorum
// certificate (QC) says that a quorum voted for one; D headers of consecutive views and one
// QC prove that a block and all before it are final, to anybody who holds the key block.
//
// The Registry says who is in the scheme, with which keys, since when and until when; certified
// changes make one version of it after another, each by the authorities of the one before.
//
// It refuses to decide what a transaction does (chain/state), to run consensus (chain/bft),
// and to sign. Sources: HotStuff (PODC 2019), Jolteon (arXiv 2106.10362), DiemBFT v4.
package chain
