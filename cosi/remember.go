package cosi

import (
	"slices"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// Verifier lists, ascending, the places of the signatures that VerifyEd25519 refuses.
// VerifyEd25519Batch is one.
type Verifier func(batch []IdentitySignature) []int

const (
	rememberDomain    wire.Domain = "cypherlink/cosi-remember/v1"
	certificateDomain wire.Domain = "cypherlink/cosi-remember-certificate/v1"
)

// What is remembered at most: signatures and certificates in each half of a memory, and line
// tables of sums of keys, 24 KiB each.
const (
	rememberSignatures   = 1 << 16
	rememberCertificates = 1 << 12
	rememberTables       = 16
)

// Remembering makes a Verifier that remembers the last 65,536 to 131,072 signatures that were
// right: one that is seen at admission, in a block that is built and in a block that is voted for
// is checked once. What was wrong is checked again. Any goroutine may call it.
func Remembering() Verifier { return (&memory{size: rememberSignatures}).verify }

// memory holds hashes over what was signed, by whom, and the signature. The older half is
// forgotten when the newer is full.
type memory struct {
	size         int // of a half
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
		if len(m.newer) >= m.size || m.newer == nil {
			m.newer, m.older = make(map[cypherlink.Hash]struct{}, 1024), m.newer
		}
		m.newer[hashes[at]] = struct{}{}
	}
}

// certificateHash names a certificate over a frame, which names its roster.
func certificateHash(f Frame, c Certificate) cypherlink.Hash {
	frame := f.Encode()
	return wire.Sum(certificateDomain, slices.Concat(frame[:], c.Signature[:], c.Bitmap))
}

// tables are the line tables of sums of keys, by the bitmap of their members: the same quorums
// sign again and again.
type tables struct {
	mu     sync.Mutex
	tables map[string]*lineTable
}

// of is the table of key, the sum of these members' keys.
func (t *tables) of(signers bitmap, key bls.G2Affine) *lineTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := t.tables[string(signers)]
	if table != nil {
		return table
	}
	if len(t.tables) >= rememberTables || t.tables == nil {
		t.tables = map[string]*lineTable{}
	}
	table = lines(key)
	t.tables[string(signers)] = table
	return table
}
