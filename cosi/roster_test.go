package cosi_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

func TestNewRosterRefuses(t *testing.T) {
	a := cosi.Member{ID: testID("a"), Key: testKey(t, "a").Public()}
	b := cosi.Member{ID: testID("b"), Key: testKey(t, "b").Public()}
	group := func(role string, need int, members ...int) cosi.Group {
		return cosi.Group{Role: role, Need: need, Members: members}
	}
	long := "a-role-name-of-thirty-three-bytes"
	many := make([]cosi.Group, 65)
	for i := range many {
		many[i] = group(fmt.Sprintf("g%02d", i), 1, i)
	}
	tests := []struct {
		name    string
		members []cosi.Member
		policy  cosi.Policy
		want    error
	}{
		{"nobody", nil, cosi.All(), cosi.ErrRoster},
		{"more than the largest roster", make([]cosi.Member, cosi.MaxMembers+1), cosi.All(), cosi.ErrRoster},
		{"one id twice", []cosi.Member{a, {ID: a.ID, Key: b.Key}}, cosi.All(), cosi.ErrRoster},
		{"one key twice", []cosi.Member{a, {ID: b.ID, Key: a.Key}}, cosi.All(), cosi.ErrRoster},
		{"no policy", []cosi.Member{a, b}, cosi.Policy{}, cosi.ErrPolicy},
		{"none of two", []cosi.Member{a, b}, cosi.Threshold(0), cosi.ErrPolicy},
		{"minus one of two", []cosi.Member{a, b}, cosi.Threshold(-1), cosi.ErrPolicy},
		{"three of two", []cosi.Member{a, b}, cosi.Threshold(3), cosi.ErrPolicy},
		{"2^16+1 of two", []cosi.Member{a, b}, cosi.Threshold(1<<16 + 1), cosi.ErrPolicy},
		{"no group", []cosi.Member{a, b}, cosi.Roles(), cosi.ErrPolicy},
		{"a group of nobody", []cosi.Member{a, b}, cosi.Roles(group("x", 1)), cosi.ErrPolicy},
		{"a group that needs nobody", []cosi.Member{a, b}, cosi.Roles(group("x", 0, 0)), cosi.ErrPolicy},
		{"a group that needs two of one", []cosi.Member{a, b}, cosi.Roles(group("x", 2, 0)), cosi.ErrPolicy},
		{
			"one member twice in a group",
			[]cosi.Member{a, b},
			cosi.Roles(group("x", 2, 0, 0)), cosi.ErrPolicy,
		},
		{"a group in another order", []cosi.Member{a, b}, cosi.Roles(group("x", 2, 1, 0)), cosi.ErrPolicy},
		{"a member beyond the roster", []cosi.Member{a, b}, cosi.Roles(group("x", 1, 2)), cosi.ErrPolicy},
		{"a negative member", []cosi.Member{a, b}, cosi.Roles(group("x", 1, -1)), cosi.ErrPolicy},
		{
			"one member in two roles",
			[]cosi.Member{a, b},
			cosi.Roles(group("x", 1, 0), group("y", 1, 0, 1)), cosi.ErrPolicy,
		},
		{
			"two groups of one name",
			[]cosi.Member{a, b},
			cosi.Roles(group("x", 1, 0), group("x", 1, 1)), cosi.ErrPolicy,
		},
		{"a role without name", []cosi.Member{a, b}, cosi.Roles(group("", 1, 0)), cosi.ErrPolicy},
		{"a role in capitals", []cosi.Member{a, b}, cosi.Roles(group("Bank", 1, 0)), cosi.ErrPolicy},
		{"a role of 33 bytes", []cosi.Member{a, b}, cosi.Roles(group(long, 1, 0)), cosi.ErrPolicy},
		{"65 groups", []cosi.Member{a, b}, cosi.Roles(many...), cosi.ErrPolicy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if r, err := cosi.NewRoster(tt.members, tt.policy); !errors.Is(err, tt.want) || r != nil {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestRosterRootIsTheDocumentedTree(t *testing.T) {
	policies := map[string]struct {
		policy cosi.Policy
		bytes  string
	}{
		"all":       {cosi.All(), "\x01"},
		"threshold": {cosi.Threshold(2), "\x02\x00\x02"},
		"roles": {
			cosi.Roles(
				cosi.Group{Role: "validators", Need: 1, Members: []int{1, 2}},
				cosi.Group{Role: "bank-a", Need: 1, Members: []int{0}},
			),
			"\x03\x00\x00\x00\x02" +
				"\x00\x00\x00\x06bank-a\x00\x01\x00\x00\x00\x01\x00\x00" +
				"\x00\x00\x00\x0avalidators\x00\x01\x00\x00\x00\x02\x00\x01\x00\x02",
		},
	}
	for name, tt := range policies {
		c := newCommittee(t, 3, tt.policy)
		var leaves []merkle.Hash
		for i := range c.Len() {
			m := c.Member(i)
			key := m.Key.Bytes()
			leaves = append(leaves, merkle.Leaf(append(m.ID[:], key[:]...)))
			if at, ok := c.Index(m.ID); !ok || at != i {
				t.Fatalf("index of member %d: %d, %t", i, at, ok)
			}
		}
		leaves = append(leaves, merkle.Leaf([]byte(tt.bytes)))
		if c.Root() != merkle.Root(leaves) {
			t.Errorf("%s: another tree", name)
		}
		var w wire.Writer
		c.Policy().AppendWire(&w)
		if string(w.Bytes()) != tt.bytes {
			t.Errorf("%s: encodes as %x", name, w.Bytes())
		}
	}
	c := newCommittee(t, 3, cosi.All())
	if _, ok := c.Index(cypherlink.ParticipantID{}); ok {
		t.Error("a stranger is a member")
	}
	if err := c.Satisfied([]int{0, 1, 3}); !errors.Is(err, cosi.ErrMember) {
		t.Error(err)
	}
	if err := c.Satisfied([]int{0, 1, 1}); !errors.Is(err, cosi.ErrPolicy) {
		t.Errorf("one member twice counts as two: %v", err)
	}
}

// The roster keeps its own copies.
func TestRosterIsImmutable(t *testing.T) {
	members := []cosi.Member{
		{ID: testID("a"), Key: testKey(t, "a").Public()},
		{ID: testID("b"), Key: testKey(t, "b").Public()},
	}
	indices := []int{0, 1}
	r, err := cosi.NewRoster(members, cosi.Roles(cosi.Group{Role: "x", Need: 2, Members: indices}))
	if err != nil {
		t.Fatal(err)
	}
	members[0], indices[0], indices[1] = members[1], 7, 7
	if r.Member(0).ID != testID("a") || r.Satisfied([]int{0, 1}) != nil {
		t.Fatal("the roster changed")
	}
}

// I6 for policies, and the refusal of every other form.
func TestI6Policies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := cosi.All()
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 1:
			p = cosi.Threshold(rapid.IntRange(1, cosi.MaxMembers).Draw(t, "k"))
		case 2:
			all := rapid.Permutation(upTo(12)).Draw(t, "members")
			a, b := slices.Clone(all[:5]), slices.Clone(all[5:])
			slices.Sort(a)
			slices.Sort(b)
			role := rapid.StringMatching(`[c-z0-9][a-z0-9-]{0,31}`).Draw(t, "role")
			p = cosi.Roles(
				cosi.Group{Role: "bank-a", Need: rapid.IntRange(1, 5).Draw(t, "a"), Members: a},
				cosi.Group{Role: role, Need: 7, Members: b},
			)
		}
		var w wire.Writer
		p.AppendWire(&w)
		b := w.Bytes()
		r := wire.NewReader(b)
		q := cosi.ReadPolicy(r)
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		var again wire.Writer
		q.AppendWire(&again)
		if string(again.Bytes()) != string(b) {
			t.Fatalf("%x encodes as %x", b, again.Bytes())
		}
	})
	for name, b := range map[string]string{
		"nothing":               "",
		"kind 0":                "\x00",
		"kind 4":                "\x04",
		"threshold 0":           "\x02\x00\x00",
		"threshold 2^14+1":      "\x02\x40\x01",
		"no groups":             "\x03\x00\x00\x00\x00",
		"65 groups":             "\x03\x00\x00\x00\x41" + string(make([]byte, 1000)),
		"more members than fit": "\x03\x00\x00\x00\x01\x00\x00\x00\x01x\x00\x01\x00\x00\x00\x02\x00\x00",
		"groups out of order": "\x03\x00\x00\x00\x02\x00\x00\x00\x01b\x00\x01\x00\x00\x00\x01\x00\x00" +
			"\x00\x00\x00\x01a\x00\x01\x00\x00\x00\x01\x00\x01",
	} {
		r := wire.NewReader([]byte(b))
		cosi.ReadPolicy(r)
		if r.End() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
