package cosi_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink/cosi"
)

func BenchmarkSign(b *testing.B) {
	c := newCommittee(b, 1, cosi.All())
	f := c.vote(1)
	for b.Loop() {
		c.share(b, 0, f)
	}
}

func BenchmarkParsePublicKey(b *testing.B) {
	k := testKey(b, "a").Public().Bytes()
	for b.Loop() {
		if _, err := cosi.ParsePublicKey(k[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyPossession(b *testing.B) {
	k := testKey(b, "a")
	pub, pop := k.Public(), k.Possession()
	for b.Loop() {
		if err := cosi.VerifyPossession(pub, pop); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewRoster(b *testing.B) {
	for _, n := range []int{4, 21, 100} {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			c := newCommittee(b, n, cosi.All())
			members := make([]cosi.Member, n)
			for i := range members {
				members[i] = c.Member(i)
			}
			for b.Loop() {
				if _, err := cosi.NewRoster(members, cosi.All()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyShare(b *testing.B) {
	c := newCommittee(b, 4, cosi.All())
	f := c.vote(1)
	s := c.share(b, 2, f)
	for b.Loop() {
		if err := c.VerifyShare(f, 2, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyCertificate(b *testing.B) {
	for _, n := range []int{4, 21, 100} {
		q := cosi.Quorum(n)
		c := newCommittee(b, n, cosi.Threshold(q))
		f := c.vote(1)
		for _, signers := range []int{n, q} {
			cert := c.certify(b, f, upTo(signers)...)
			b.Run(fmt.Sprintf("n=%d/signers=%d", n, signers), func(b *testing.B) {
				for b.Loop() {
					cosi.Forget(c.Roster)
					if err := c.Verify(f, cert); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("n=%d/signers=%d/again", n, signers), func(b *testing.B) {
				for b.Loop() {
					if err := c.Verify(f, cert); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAggregate(b *testing.B) {
	for _, n := range []int{4, 64} {
		c := newCommittee(b, n, cosi.Threshold(cosi.Quorum(n)))
		f := c.vote(1)
		shares := c.shares(b, f, upTo(n)...)
		for _, wrong := range slices.Compact([]int{0, 1, n - cosi.Quorum(n)}) {
			for i := range wrong {
				shares[i*3%n] = shares[n-1]
			}
			b.Run(fmt.Sprintf("n=%d/wrong=%d", n, wrong), func(b *testing.B) {
				for b.Loop() {
					if _, blamed, err := c.Aggregate(f, shares); err != nil || len(blamed) != wrong {
						b.Fatal(blamed, err)
					}
				}
			})
		}
	}
}

func BenchmarkVerifyMixed(b *testing.B) {
	c := newCommittee(b, 4, cosi.Threshold(3))
	f, g := c.vote(1), c.vote(2)
	shares := map[int]cosi.Share{}
	for i := range 3 {
		at := f
		if i == 2 {
			at = g
		}
		shares[i] = cosi.Share{Frame: at, Signature: c.share(b, i, at)}
	}
	cert, _, err := c.AggregateMixed(shares)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := c.VerifyMixed([]cosi.Frame{f, g}, [][]int{{0, 1}, {2}}, cert.Signature); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEd25519(b *testing.B) {
	id := testIdentity(b, "alice")
	f := cosi.Frame{Type: cosi.Command}
	sig, err := id.Sign(f)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			if _, err := id.Sign(f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if err := cosi.VerifyEd25519(id.Public(), f, sig); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []int{16, 64, 256, 1024} {
		batch := make([]cosi.IdentitySignature, n)
		for i := range batch {
			signer := testIdentity(b, fmt.Sprint("client ", i%8))
			g := cosi.Frame{Type: cosi.Command, Sequence: uint64(i)}
			s, err := signer.Sign(g)
			if err != nil {
				b.Fatal(err)
			}
			batch[i] = cosi.IdentitySignature{Key: signer.Public(), Frame: g, Signature: s}
		}
		b.Run(fmt.Sprint("batch=", n), func(b *testing.B) {
			for b.Loop() {
				if wrong := cosi.VerifyEd25519Batch(batch); len(wrong) > 0 {
					b.Fatal(wrong)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signature")
		})
	}
}
