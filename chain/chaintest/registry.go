package chaintest

import (
	"fmt"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// Authorities is how many authorities there are, AuthorityQuorum how many a change takes.
const (
	Authorities     = 3
	AuthorityQuorum = 2
)

func (n *Network) addAuthorities(tb testing.TB, file *chain.GenesisFile) {
	tb.Helper()
	for i := range Authorities {
		a := ledgertest.NewActor(fmt.Sprint("authority ", i+1))
		p, key := enrol(tb, a.Key, chain.RoleAuthority, fmt.Sprint("Authority ", i+1))
		file.Participants = append(file.Participants, p)
		n.AuthorityKeys = append(n.AuthorityKeys, key)
	}
}

// Newcomer is a participant that the network does not know, with its keys; both depend on the
// name alone. A bank has a BIC.
func Newcomer(tb testing.TB, name string, role chain.Role) (chain.Participant, ledgertest.Actor, *sign.Key) {
	tb.Helper()
	a := ledgertest.NewActor(name)
	p, key := enrol(tb, a.Key, role, name)
	if role == chain.RoleBank || role == chain.RoleClearing {
		p.BIC = BIC(tb, a.Key)
	}
	return p, a, key
}

// BIC is one that depends on the bytes alone, of a country where no bank of New is.
func BIC(tb testing.TB, of [32]byte) cypherlink.BIC {
	tb.Helper()
	code := []byte("AAAAFR")
	for i := range 4 {
		code[i] += of[i] % 26
	}
	code = append(code, 'A'+of[4]%26, 'A'+of[5]%26)
	bic, err := cypherlink.ParseBIC(string(code))
	if err != nil {
		tb.Fatal(err)
	}
	return bic
}

// Keys are a fresh set of keys for a participant, with the identity key's owner.
func Keys(tb testing.TB, name string) (chain.KeySet, ledgertest.Actor) {
	tb.Helper()
	p, a, _ := Newcomer(tb, name, chain.RoleOperator)
	return p.KeySet, a
}

// Change is a change that stands on r and makes it the next version, certified by those
// authorities of the network; by the first AuthorityQuorum if none are named.
func (n *Network) Change(
	tb testing.TB, r *chain.Registry, change chain.Change, by ...int,
) *chain.CertifiedChange {
	tb.Helper()
	if len(by) == 0 {
		by = []int{0, 1}
	}
	keys := make([]*sign.Key, len(by))
	for i, at := range by {
		keys[i] = n.AuthorityKeys[at]
	}
	return Certify(tb, r, r.Version()+1, change, keys...)
}

// Certify is a change that stands on r and makes it that version, signed by these keys as far as
// they are authorities of r. It may be too few.
func Certify(
	tb testing.TB, r *chain.Registry, version uint64, change chain.Change, keys ...*sign.Key,
) *chain.CertifiedChange {
	tb.Helper()
	frame, roster := r.Frame(version, change), r.Authorities()
	c := &chain.CertifiedChange{Base: r.Version(), Version: version, Change: change}
	c.Certificate.Bitmap = make([]byte, (roster.Len()+7)/8)
	for _, key := range keys {
		share, err := key.SignRecorded(frame)
		if err != nil {
			tb.Fatal(err)
		}
		one := cosi.Certificate{Bitmap: make([]byte, len(c.Certificate.Bitmap)), Signature: share}
		for i := range roster.Len() {
			if roster.Member(i).Key == key.Public() {
				one.Bitmap[i/8] |= 1 << (i % 8)
			}
		}
		if c.Certificate.Signature == (cosi.Signature{}) {
			c.Certificate = one
			continue
		}
		if c.Certificate, err = cosi.Merge(c.Certificate, one); err != nil {
			tb.Fatal(err)
		}
	}
	return c
}
