package bft_test

import (
	"math/rand/v2"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
)

// committees and houses keep what takes long to make; tests here do not run in parallel.
var (
	committees = map[chain.Header]*chain.Committee{}
	houses     = map[int]house{}
)

// house is a key block with its members' keys.
type house struct {
	block      chain.KeyBlock
	keys       []*sign.Key
	identities []*sign.Identity
}

func newKeyBlock(t testing.TB, n int) (chain.KeyBlock, []*sign.Key, []*sign.Identity) {
	t.Helper()
	if h, ok := houses[n]; ok {
		return h.block, h.keys, h.identities
	}
	random := rand.NewChaCha8([32]byte{byte(n)})
	h := house{block: chain.KeyBlock{
		Epoch: 1, Depth: 2, TermViews: 1, Topology: chain.Mesh, Leaders: chain.RoundRobin,
		IdleMS: 1000, MaxBaseMS: 500, MinExpiryS: 100_000,
	}}
	roster := make([]cosi.Member, n)
	for i := range n {
		key, err := sign.GenerateKey(random)
		if err != nil {
			t.Fatal(err)
		}
		identity, err := sign.GenerateIdentity(random)
		if err != nil {
			t.Fatal(err)
		}
		h.keys, h.identities = append(h.keys, key), append(h.identities, identity)
		roster[i] = cosi.Member{ID: cypherlink.NewParticipantID(identity.Public()), Key: key.Public()}
		h.block.Members = append(h.block.Members, chain.Member{
			ID: roster[i].ID, Key: roster[i].Key, Possession: key.Possession(),
			Identity: identity.Public(), TLS: cypherlink.Hash{byte(i), 1},
		})
	}
	r, err := cosi.NewRoster(roster, cosi.All())
	if err != nil {
		t.Fatal(err)
	}
	h.block.Sum = r.Sum()
	houses[n] = h
	return h.block, h.keys, h.identities
}
