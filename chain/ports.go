package chain

import "github.com/cypherlink/cypherlink/cosi"

// Signatures is what a committee asks of its roster. *cosi.Roster is the one that counts;
// Committee.Using takes another.
type Signatures interface {
	// Verify accepts a certificate over one frame that satisfies the roster's policy.
	Verify(f cosi.Frame, c cosi.Certificate) error
	// VerifyShare accepts the signature of the member index.
	VerifyShare(f cosi.Frame, index int, s cosi.Signature) error
	// VerifyMixed accepts the sum of signatures over several frames, signers[i] over frames[i],
	// that together satisfy the policy.
	VerifyMixed(frames []cosi.Frame, signers [][]int, s cosi.Signature) error
	// AggregateMixed sums signatures, verifies the sum and names whose are wrong.
	AggregateMixed(shares map[int]cosi.Share) (cosi.Certificate, []int, error)
}
