package cosi

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrPolicy means that a policy is malformed, that no set of signers can satisfy it, or that
// a given set does not.
var ErrPolicy = errors.New("cosi: policy not satisfied")

// Bounds of a policy by roles.
const (
	MaxGroups   = 64
	MaxRoleName = 32
)

// The first byte of a policy.
const (
	policyAll       = 1
	policyThreshold = 2
	policyRoles     = 3
)

// Policy says which sets of a roster's members may speak for it. It is immutable, and part
// of the roster's root. The zero value is no policy and is refused.
type Policy struct {
	kind   uint8
	need   int
	groups []Group
}

// Group asks for the signatures of at least Need of Members.
type Group struct {
	// Role names the group, such as "validators": 1 to 32 lower-case letters, digits and
	// hyphens.
	Role string
	// Need is from 1 to len(Members).
	Need int
	// Members are indices in the roster, ascending, none twice and none in two groups: one
	// signature never fills two roles.
	Members []int
}

// All asks for every member.
func All() Policy { return Policy{kind: policyAll} }

// Threshold asks for at least k members, whoever they are.
func Threshold(k int) Policy { return Policy{kind: policyThreshold, need: k} }

// Roles asks for what every group asks for. The order of the groups does not matter. Members
// in no group may sign and count for nothing. The groups are copied.
func Roles(groups ...Group) Policy {
	own := make([]Group, len(groups))
	for i, g := range groups {
		own[i] = Group{Role: g.Role, Need: g.Need, Members: slices.Clone(g.Members)}
	}
	slices.SortStableFunc(own, func(a, b Group) int {
		switch {
		case a.Role < b.Role:
			return -1
		case a.Role > b.Role:
			return 1
		}
		return 0
	})
	return Policy{kind: policyRoles, groups: own}
}

// Quorum is the least number of n members such that any two quorums share an honest one,
// ceil((n+f+1)/2) with f = MaxFaulty(n). It is 2f+1 only where n = 3f+1. Zero for n < 1.
func Quorum(n int) int {
	if n < 1 {
		return 0
	}
	return (n + MaxFaulty(n) + 2) / 2
}

// MaxFaulty is the number of faulty members that n tolerate, floor((n-1)/3). Zero for n < 1.
func MaxFaulty(n int) int {
	if n < 1 {
		return 0
	}
	return (n - 1) / 3
}

// AppendWire appends the canonical form: a kind byte; for Threshold the 16-bit k; for Roles a
// 32-bit count of groups, and of each the role, the 16-bit need, a 32-bit count and the
// 16-bit indices.
func (p Policy) AppendWire(w *wire.Writer) {
	w.U8(p.kind)
	switch p.kind {
	case policyThreshold:
		w.U16(uint16(p.need)) //nolint:gosec // valid for a roster: at most MaxMembers
	case policyRoles:
		w.U32(uint32(len(p.groups))) //nolint:gosec // at most MaxGroups
		for _, g := range p.groups {
			w.Str(g.Role)
			w.U16(uint16(g.Need))         //nolint:gosec // at most MaxMembers
			w.U32(uint32(len(g.Members))) //nolint:gosec // at most MaxMembers
			for _, m := range g.Members {
				w.U16(uint16(m)) //nolint:gosec // below MaxMembers
			}
		}
	}
}

// ReadPolicy reads what AppendWire wrote and checks everything that does not need the roster.
func ReadPolicy(r *wire.Reader) Policy {
	p := Policy{kind: r.U8()}
	switch p.kind {
	case policyThreshold:
		p.need = int(r.U16())
	case policyRoles:
		p.groups = make([]Group, r.Count(MaxGroups, 4+2+4))
		for i := range p.groups {
			g := Group{Role: r.Str(MaxRoleName), Need: int(r.U16())}
			g.Members = make([]int, r.Count(MaxMembers, 2))
			for j := range g.Members {
				g.Members[j] = int(r.U16())
			}
			p.groups[i] = g
		}
	}
	if r.Err() == nil {
		if err := p.valid(MaxMembers); err != nil {
			r.Fail(err)
		}
	}
	return p
}

// valid reports ErrPolicy unless some set of n members satisfies p, and p is canonical.
func (p Policy) valid(n int) error {
	switch p.kind {
	case policyAll:
		return nil
	case policyThreshold:
		if p.need < 1 || p.need > n {
			return fmt.Errorf("%d of %d members: %w", p.need, n, ErrPolicy)
		}
		return nil
	case policyRoles:
		return validGroups(p.groups, n)
	}
	return fmt.Errorf("kind %d: %w", p.kind, ErrPolicy)
}

func validGroups(groups []Group, n int) error {
	if len(groups) < 1 || len(groups) > MaxGroups {
		return fmt.Errorf("%d groups: %w", len(groups), ErrPolicy)
	}
	taken := make(map[int]bool)
	for i, g := range groups {
		if !validRole(g.Role) || i > 0 && groups[i-1].Role >= g.Role {
			return fmt.Errorf("role %.40q: %w", g.Role, ErrPolicy)
		}
		if g.Need < 1 || g.Need > len(g.Members) {
			return fmt.Errorf("role %s, %d of %d: %w", g.Role, g.Need, len(g.Members), ErrPolicy)
		}
		for j, m := range g.Members {
			if m < 0 || m >= n || taken[m] || j > 0 && g.Members[j-1] >= m {
				return fmt.Errorf("role %s, member %d: %w", g.Role, m, ErrPolicy)
			}
			taken[m] = true
		}
	}
	return nil
}

func validRole(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= MaxRoleName
}

// holds reports ErrPolicy unless the signers, all below n, satisfy p.
func (p Policy) holds(signers bitmap, n int) error {
	switch p.kind {
	case policyAll:
		if got := signers.count(); got < n {
			return fmt.Errorf("%d of all %d: %w", got, n, ErrPolicy)
		}
	case policyThreshold:
		if got := signers.count(); got < p.need {
			return fmt.Errorf("%d of %d members, need %d: %w", got, n, p.need, ErrPolicy)
		}
	case policyRoles:
		for _, g := range p.groups {
			got := 0
			for _, m := range g.Members {
				if signers.has(m) {
					got++
				}
			}
			if got < g.Need {
				return fmt.Errorf("%d of role %s, need %d: %w", got, g.Role, g.Need, ErrPolicy)
			}
		}
	}
	return nil
}
