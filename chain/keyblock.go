package chain

import (
	"errors"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrKeyBlock means that bytes are not a key block, or that one breaks a rule of its own.
var ErrKeyBlock = errors.New("chain: wrong key block")

// keyBlockMagic begins every key block, and nothing else that a payload may hold.
const keyBlockMagic = "CYPH-KEYBLOCK-v1\x00"

// Bounds of a key block.
const (
	// MinMembers is the least committee that tolerates a fault.
	MinMembers = 4
	MaxMembers = 256
	// MaxTermViews bounds k.
	MaxTermViews = 256
	// MaxWait bounds the idle interval and the base timeout, in milliseconds.
	MaxWait = 60_000
)

// Topology says along which lines proposals and votes travel.
type Topology uint8

// The topologies.
const (
	Mesh Topology = 1 // everybody to everybody
	Star Topology = 2 // through the leaders
	Tree Topology = 3 // through inner nodes, ceil(sqrt n) below each
)

// LeaderPolicy chooses the member of a term.
type LeaderPolicy uint8

// RoundRobin gives the terms to the members in their order. Other policies get other numbers;
// until then they are refused.
const RoundRobin LeaderPolicy = 1

// Member is a member of a committee, as its key block has it.
type Member struct {
	ID cypherlink.ParticipantID
	// Key is the BLS key of votes and timeouts, Possession its proof.
	Key        cosi.PublicKey
	Possession cosi.Possession
	// Identity is the Ed25519 key of proposals.
	Identity [32]byte
	// TLS is SHA-256 of the SubjectPublicKeyInfo by which peers pin the member.
	TLS cypherlink.Hash
}

// KeyBlock opens an epoch: who orders blocks, and how. It is the payload of the last block of
// the epoch before. All members of an epoch use its parameters; members with different depths
// would leave the epoch at different blocks.
type KeyBlock struct {
	// Epoch is the one that it opens, from 1.
	Epoch uint64
	// Depth is the commit depth D, 2 or 3.
	Depth uint8
	// TermViews is k, the views of a leader's term.
	TermViews uint16
	Topology  Topology
	Leaders   LeaderPolicy
	// IdleMS is how long an idle leader waits before he proposes an empty block.
	IdleMS uint32
	// MaxBaseMS is the upper bound of the base timeout.
	MaxBaseMS uint32
	// MinExpiryS is the least time, in seconds of block time, that a custody needs before its
	// expiry, so that it can be confirmed across faulty leaders.
	MinExpiryS uint32
	// CommitteeBlock is the hash of the members' addresses, sealed to the members, or zero if
	// they are agreed outside.
	CommitteeBlock cypherlink.Hash
	// Sum is the sum of all members' BLS keys.
	Sum cosi.PublicKey
	// Members are in the order of a certificate's bits and of round robin.
	Members []Member
}

// Idle is the idle interval.
func (k KeyBlock) Idle() time.Duration { return time.Duration(k.IdleMS) * time.Millisecond }

// MaxBase is the upper bound of the base timeout.
func (k KeyBlock) MaxBase() time.Duration { return time.Duration(k.MaxBaseMS) * time.Millisecond }

// Grow is a timeout after so many consecutive failed terms: it grows by half with each, to at
// most eight times.
func Grow(timeout time.Duration, failed int) time.Duration {
	grown := timeout
	for range failed {
		if grown = grown * 3 / 2; grown >= 8*timeout {
			return 8 * timeout
		}
	}
	return grown
}

// unconfirmable is how long the chain may take, at worst, to include a transaction in an idle
// network: a rotation of idle views, and f+1 failed terms in a row at the largest base. Under
// n = 4, k = 1, idle 1 s, max base 500 ms that is 4 + 1.5 + 2.25 s.
func (k KeyBlock) unconfirmable() time.Duration {
	n := len(k.Members)
	sum := time.Duration(n) * time.Duration(k.TermViews) * k.Idle()
	for failed := range cosi.MaxFaulty(n) + 1 {
		sum += Grow(k.Idle()+k.MaxBase(), failed)
	}
	return sum
}

// Check reports ErrKeyBlock, with the reason, unless the key block keeps the rules that need
// nothing else. It verifies each proof of possession (0.7 ms each).
func (k KeyBlock) Check() error {
	roster, err := k.roster()
	if err != nil {
		return err
	}
	if roster.Sum() != k.Sum {
		return fmt.Errorf("the sum of the keys is %s: %w", roster.Sum(), ErrKeyBlock)
	}
	for i, m := range k.Members {
		if err := cosi.VerifyPossession(m.Key, m.Possession); err != nil {
			return fmt.Errorf("member %d: %w: %w", i, ErrKeyBlock, err)
		}
	}
	return nil
}

// roster is Check without the curve's work; the roster asks for a quorum.
func (k KeyBlock) roster() (*cosi.Roster, error) {
	if err := k.checkRules(); err != nil {
		return nil, err
	}
	identities, pins := map[[32]byte]int{}, map[cypherlink.Hash]int{}
	members := make([]cosi.Member, len(k.Members))
	for i, m := range k.Members {
		if j, ok := identities[m.Identity]; ok {
			return nil, fmt.Errorf("members %d and %d, one identity key: %w", j, i, ErrKeyBlock)
		}
		if j, ok := pins[m.TLS]; ok {
			return nil, fmt.Errorf("members %d and %d, one TLS key: %w", j, i, ErrKeyBlock)
		}
		identities[m.Identity], pins[m.TLS] = i, i
		members[i] = cosi.Member{ID: m.ID, Key: m.Key}
	}
	roster, err := cosi.NewRoster(members, cosi.Threshold(cosi.Quorum(len(members))))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyBlock, err)
	}
	return roster, nil
}

func (k KeyBlock) checkRules() error {
	n := len(k.Members)
	switch {
	case k.Epoch < 1:
		return fmt.Errorf("epoch %d: %w", k.Epoch, ErrKeyBlock)
	case k.Depth != 2 && k.Depth != 3:
		return fmt.Errorf("depth %d: %w", k.Depth, ErrKeyBlock)
	case n < MinMembers || n > MaxMembers:
		return fmt.Errorf("%d members: %w", n, ErrKeyBlock)
	case k.TermViews < 1 || k.TermViews > MaxTermViews:
		return fmt.Errorf("terms of %d views: %w", k.TermViews, ErrKeyBlock)
	case k.Topology < Mesh || k.Topology > Tree:
		return fmt.Errorf("topology %d: %w", k.Topology, ErrKeyBlock)
	case k.Topology != Mesh && k.TermViews <= uint16(k.Depth):
		// Votes go to the next leader, so a live leader commits within his own term or never.
		return fmt.Errorf("terms of %d views, depth %d, no mesh: %w", k.TermViews, k.Depth, ErrKeyBlock)
	case k.Leaders != RoundRobin:
		return fmt.Errorf("leader policy %d: %w", k.Leaders, ErrKeyBlock)
	case k.IdleMS < 1 || k.IdleMS > MaxWait || k.MaxBaseMS < 1 || k.MaxBaseMS > MaxWait:
		return fmt.Errorf("idle %d ms, max base %d ms: %w", k.IdleMS, k.MaxBaseMS, ErrKeyBlock)
	case time.Duration(k.MinExpiryS)*time.Second <= k.unconfirmable():
		return fmt.Errorf("min expiry %d s, not above %s: %w",
			k.MinExpiryS, k.unconfirmable(), ErrKeyBlock)
	}
	return nil
}

// Encode is the canonical form.
func (k KeyBlock) Encode() []byte {
	w := wire.NewWriter(256 + 256*len(k.Members))
	w.Fixed([]byte(keyBlockMagic))
	w.U64(k.Epoch)
	w.U8(k.Depth)
	w.U16(k.TermViews)
	w.U8(uint8(k.Topology))
	w.U8(uint8(k.Leaders))
	w.U32(k.IdleMS)
	w.U32(k.MaxBaseMS)
	w.U32(k.MinExpiryS)
	w.Fixed(k.CommitteeBlock[:])
	sum := k.Sum.Bytes()
	w.Fixed(sum[:])
	w.U32(uint32(len(k.Members))) //nolint:gosec // at most MaxMembers
	for _, m := range k.Members {
		key := m.Key.Bytes()
		w.Fixed(m.ID[:])
		w.Fixed(key[:])
		w.Fixed(m.Possession[:])
		w.Fixed(m.Identity[:])
		w.Fixed(m.TLS[:])
	}
	return w.Bytes()
}

// DecodeKeyBlock takes exactly the form of Encode; otherwise ErrKeyBlock. It checks that keys
// are keys; everything else is for Check.
func DecodeKeyBlock(b []byte) (KeyBlock, error) {
	r := wire.NewReader(b)
	var magic [len(keyBlockMagic)]byte
	r.Fixed(magic[:])
	if r.Err() == nil && string(magic[:]) != keyBlockMagic {
		r.Fail(fmt.Errorf("magic %q: %w", magic, ErrKeyBlock))
	}
	k := KeyBlock{
		Epoch: r.U64(), Depth: r.U8(), TermViews: r.U16(),
		Topology: Topology(r.U8()), Leaders: LeaderPolicy(r.U8()),
		IdleMS: r.U32(), MaxBaseMS: r.U32(), MinExpiryS: r.U32(),
	}
	r.Fixed(k.CommitteeBlock[:])
	k.Sum = readKey(r)
	k.Members = make([]Member, r.Count(MaxMembers, 32+96+48+32+32))
	for i := range k.Members {
		m := &k.Members[i]
		r.Fixed(m.ID[:])
		m.Key = readKey(r)
		r.Fixed(m.Possession[:])
		r.Fixed(m.Identity[:])
		r.Fixed(m.TLS[:])
	}
	if err := r.End(); err != nil {
		return KeyBlock{}, fmt.Errorf("%w: %w", ErrKeyBlock, err)
	}
	return k, nil
}

func readKey(r *wire.Reader) cosi.PublicKey {
	var b [cosi.PublicKeySize]byte
	r.Fixed(b[:])
	if r.Err() != nil {
		return cosi.PublicKey{}
	}
	key, err := cosi.ParsePublicKey(b[:])
	if err != nil {
		r.Fail(err)
	}
	return key
}
