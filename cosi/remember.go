package cosi

import (
	"slices"
	"sync"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// Verifier lists, ascending, the places of the signatures that VerifyEd25519 refuses.
// VerifyEd25519Batch is one.
type Verifier func(batch []IdentitySignature) []int

const rememberDomain wire.Domain = "cypherlink/cosi-remember/v1"

// rememberSize is how many signatures each half of a memory holds at most.
const rememberSize = 1 << 16

// Remembering makes a Verifier that remembers the last 65,536 to 131,072 signatures that were
// right: one that is seen at admission, in a block that is built and in a block that is voted for
// is checked once. What was wrong is checked again. Any goroutine may call it.
func Remembering() Verifier { return new(memory).verify }

// memory holds hashes over key, frame and signature. The older half is forgotten when the newer
// is full.
type memory struct {
	mu           sync.Mutex
	newer, older map[cypherlink.Hash]struct{}
}

func (m *memory) verify(batch []IdentitySignature) []int {
	hashes := make([]cypherlink.Hash, len(batch))
	for i, s := range batch {
		frame := s.Frame.Encode()
		hashes[i] = wire.Sum(rememberDomain, slices.Concat(s.Key[:], frame[:], s.Signature[:]))
	}
	places := m.unknown(hashes)
	if len(places) == 0 {
		return nil
	}
	unknown := make([]IdentitySignature, len(places))
	for i, at := range places {
		unknown[i] = batch[at]
	}
	var wrong []int
	for _, i := range VerifyEd25519Batch(unknown) {
		wrong = append(wrong, places[i])
		places[i] = -1
	}
	m.add(hashes, places)
	return wrong
}

func (m *memory) unknown(hashes []cypherlink.Hash) []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var places []int
	for i, h := range hashes {
		if _, ok := m.newer[h]; ok {
			continue
		}
		if _, ok := m.older[h]; !ok {
			places = append(places, i)
		}
	}
	return places
}

// add remembers the hashes at the places that are not negative.
func (m *memory) add(hashes []cypherlink.Hash, places []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, at := range places {
		if at < 0 {
			continue
		}
		if len(m.newer) >= rememberSize || m.newer == nil {
			m.newer, m.older = make(map[cypherlink.Hash]struct{}, 1024), m.newer
		}
		m.newer[hashes[at]] = struct{}{}
	}
}
