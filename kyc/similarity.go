package kyc

import (
	"math"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// MaxScore is the similarity of two names that are the same after normalisation. Scores are
// per mille, rounded down.
const MaxScore = 1000

// Similarity is how alike two names are, per mille: Jaro-Winkler over their normal forms, in
// which case, accents and punctuation are gone, once with the words in their order and once
// with the words sorted, whichever is more. It is symmetric. A name that has no letter or
// digit is like nothing: 0.
func Similarity(a, b string) int {
	x, y := normalise(a), normalise(b)
	if x.empty() || y.empty() {
		return 0
	}
	return x.similarity(&y)
}

// normal is the normal form of a name, its words as written and sorted.
type normal struct {
	written, sorted []rune
	// bag counts the runes by class, up to 255: most pairs have too little in common to be
	// worth a comparison.
	bag [32]uint8
}

// normalise takes name apart by compatibility (NFKD), drops marks, folds case, and writes letters
// that have no decomposition in Latin as they are usually written without, and sorts the words.
func normalise(name string) normal {
	folded := cases.Fold().String(norm.NFKD.String(name))
	var b strings.Builder
	for _, c := range norm.NFKD.String(folded) {
		switch latin := plain(c); {
		case latin != "":
			b.WriteString(latin)
		case unicode.IsLetter(c) || unicode.IsNumber(c):
			b.WriteRune(c)
		case unicode.IsMark(c) || c == '\'' || c == '’':
			// O'Neil and ONeil are one word.
		default:
			b.WriteByte(' ')
		}
	}
	words := strings.Fields(b.String())
	n := normal{written: []rune(strings.Join(words, " "))}
	slices.Sort(words)
	n.sorted = []rune(strings.Join(words, " "))
	for _, c := range n.sorted {
		if at := &n.bag[int(c)%len(n.bag)]; *at < math.MaxUint8 {
			*at++
		}
	}
	return n
}

// bound is a score that the similarity of both forms does not exceed: all runes that they have
// in common match, and stand in their order.
func (n *normal) bound(o *normal) int {
	if max(len(n.sorted), len(o.sorted)) > math.MaxUint8 {
		return MaxScore // a full bag does not count on
	}
	common := 0
	for i, count := range n.bag {
		common += int(min(count, o.bag[i]))
	}
	prefix := max(commonPrefix(n.sorted, o.sorted), commonPrefix(n.written, o.written))
	return winkler(common, 0, len(n.sorted), len(o.sorted), prefix)
}

// plain is the usual spelling of a folded Latin letter that has no decomposition, or "".
func plain(c rune) string {
	switch c {
	case 'ø':
		return "o"
	case 'đ', 'ð':
		return "d"
	case 'ł':
		return "l"
	case 'æ':
		return "ae"
	case 'œ':
		return "oe"
	case 'þ':
		return "th"
	case 'ı':
		return "i"
	case 'ħ':
		return "h"
	case 'ŋ':
		return "n"
	case 'ŧ':
		return "t"
	default:
		return ""
	}
}

func (n *normal) empty() bool { return len(n.written) == 0 }

// similarity is that of two forms that are not empty.
func (n *normal) similarity(o *normal) int {
	return max(newPattern(n.sorted).similarity(o.sorted), newPattern(n.written).similarity(o.written))
}

// pattern is a text that is compared with many others, each in time linear in both lengths.
type pattern struct {
	runes []rune
	// ascii and other number the distinct runes, ascii from 1; first is the first place of each,
	// and next the next place of the same rune, none being the end.
	ascii       [128]int
	other       map[rune]int
	first, next []int
	// The rest is one comparison's: each class's first place that is still free, the places
	// that are matched, and the runes that matched them.
	free    []int
	taken   []bool
	matched []rune
}

const none = -1

func newPattern(runes []rune) *pattern {
	p := &pattern{
		runes: runes, other: map[rune]int{}, next: make([]int, len(runes)), taken: make([]bool, len(runes)),
	}
	for i := len(runes) - 1; i >= 0; i-- {
		c := runes[i]
		k := p.class(c)
		if k == none {
			k = len(p.first)
			p.first = append(p.first, none)
			if c < rune(len(p.ascii)) {
				p.ascii[c] = k + 1
			} else {
				p.other[c] = k
			}
		}
		p.next[i], p.first[k] = p.first[k], i
	}
	p.free = make([]int, len(p.first))
	return p
}

// class is the number of c, or none.
func (p *pattern) class(c rune) int {
	if c < rune(len(p.ascii)) {
		return p.ascii[c] - 1
	}
	if k, known := p.other[c]; known {
		return k
	}
	return none
}

// similarity is Jaro-Winkler per mille of the pattern and b, neither being empty. Jaro matches
// equal runes at most reach places apart, each with the first free one. For one rune that is
// to walk both texts' places in order and to drop whichever lies too far behind, so it is the
// same both ways round.
func (p *pattern) similarity(b []rune) int {
	copy(p.free, p.first)
	clear(p.taken)
	p.matched = p.matched[:0]
	reach := max(max(len(p.runes), len(b))/2-1, 0)
	for j, c := range b {
		k := p.class(c)
		if k == none {
			continue
		}
		i := p.free[k]
		for i != none && i < j-reach {
			i = p.next[i]
		}
		if i != none && i <= j+reach {
			p.taken[i] = true
			p.matched = append(p.matched, c)
			i = p.next[i]
		}
		p.free[k] = i
	}
	misplaced, m := 0, 0
	for i, taken := range p.taken {
		if taken {
			if p.matched[m] != p.runes[i] {
				misplaced++
			}
			m++
		}
	}
	return winkler(m, misplaced/2, len(p.runes), len(b), commonPrefix(p.runes, b))
}

// commonPrefix is the length of the common prefix, up to the 4 that Winkler rewards.
func commonPrefix(a, b []rune) int {
	n := 0
	for n < min(len(a), len(b), 4) && a[n] == b[n] {
		n++
	}
	return n
}

// winkler is the score of m matches, t transpositions (Winkler counts whole ones) and a common
// prefix between la and lb runes, as one exact fraction, rounded down at the end:
//
//	jaro = (m/la + m/lb + (m-t)/m) / 3
//	score = jaro + prefix/10 * (1-jaro)
//
// Lengths are below 2^12 (a name has at most MaxName characters, each at most 18 in its normal
// form), so that all fits 64 bits.
func winkler(m, t, la, lb, prefix int) int {
	if m == 0 {
		return 0
	}
	num := m*m*(la+lb) + (m-t)*la*lb
	den := 3 * m * la * lb
	return MaxScore * (10*num + prefix*(den-num)) / (10 * den)
}
