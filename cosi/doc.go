// Package cosi verifies and aggregates collective signatures.
//
// Its noun is the certificate: the signatures that a roster's policy asks for over one
// frame, as a bitmap and one BLS12-381 signature. The variant is minimal-signature
// (signature in G1, 48 bytes; key in G2, 96 bytes) with proofs of possession. The
// whitepaper's CoSi is realised so, since two-round Schnorr CoSi is broken under concurrent
// sessions (Drijvers et al., S&P 2019). It also holds the project's one rule for Ed25519
// (cofactored, FIPS 186-5).
//
// It refuses to sign: keys are in cosi/sign. It refuses anything but a Frame as a message,
// any encoding but the canonical one, the identity, and a point outside the subgroup. What
// it accepts is decided by its arguments alone: no clock, no randomness, no cache.
//
// Invariants, quoted by the tests:
//
//   - I1 a certificate verifies iff the key of every set bit signed that frame, given the
//     proofs of possession;
//   - I2 a change of any byte of frame, bitmap or signature makes it fail;
//   - I3 aggregation is associative and commutative over disjoint sets of signers;
//   - I4 the bitmap of an accepted certificate satisfies the roster's policy;
//   - I5 nobody releases two frames for one slot (cosi/sign);
//   - I6 encode(decode(x)) = x for every accepted x.
//
// Sources: draft-irtf-cfrg-bls-signature-06, RFC 9380, RFC 8032, FIPS 186-5.
package cosi
