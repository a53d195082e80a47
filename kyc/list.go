package kyc

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrList means that a list of names cannot be screened against.
var ErrList = errors.New("kyc: unusable list")

// MaxList bounds the names of a list.
const MaxList = 1 << 20

const listDomain wire.Domain = "cypherlink/kyc-list/v1"

// List is names that a bank or Validator screens against, such as a sanctions list with its
// aliases. It is immutable and safe for concurrent use.
type List struct {
	names []normal
	hash  cypherlink.Hash
}

// NewList prepares names, in any order; two with one normal form count once. It reports
// ErrList for more than MaxList names, for one longer than MaxName characters, and for one
// without a letter or digit. A list may be empty.
func NewList(names []string) (*List, error) {
	if len(names) > MaxList {
		return nil, fmt.Errorf("%d names, at most %d: %w", len(names), MaxList, ErrList)
	}
	l := &List{names: make([]normal, 0, len(names))}
	for i, name := range names {
		if utf8.RuneCountInString(name) > MaxName {
			return nil, fmt.Errorf("name %d has more than %d characters: %w", i, MaxName, ErrList)
		}
		n := normalise(name)
		if n.empty() {
			return nil, fmt.Errorf("name %d has no letter or digit: %w", i, ErrList)
		}
		l.names = append(l.names, n)
	}
	compare := func(a, b normal) int { return slices.Compare(a.written, b.written) }
	slices.SortFunc(l.names, compare)
	l.names = slices.CompactFunc(l.names, func(a, b normal) bool { return compare(a, b) == 0 })
	w := wire.NewWriter(32 * len(l.names))
	for i := range l.names {
		w.Str(string(l.names[i].written))
	}
	l.hash = wire.Sum(listDomain, w.Bytes())
	return l, nil
}

// Hash identifies the list: the same names, the same hash.
func (l *List) Hash() cypherlink.Hash { return l.hash }

// Score is the greatest similarity of name with a name of the list, per mille, and 0 for an
// empty list. A name without a letter or digit cannot be screened and scores MaxScore.
func (l *List) Score(name string) int {
	n := normalise(name)
	if n.empty() {
		return MaxScore
	}
	best, written, sorted := 0, newPattern(n.written), newPattern(n.sorted)
	for i := range l.names {
		if o := &l.names[i]; best < n.bound(o) {
			best = max(best, written.similarity(o.written), sorted.similarity(o.sorted))
		}
	}
	return best
}
