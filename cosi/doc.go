// Package cosi verifies and aggregates collective signatures.
//
// Its noun is the certificate: the signatures that a roster's policy asks for over one
// frame, as a bitmap and one BLS12-381 signature (minimal-signature variant, proofs of
// possession). The whitepaper's CoSi is realised so, since two-round Schnorr CoSi is broken
// under concurrent sessions (Drijvers et al., S&P 2019). It also holds the project's one
// rule for Ed25519 (cofactored, FIPS 186-5). It refuses to sign: keys are in cosi/sign.
// Sources: draft-irtf-cfrg-bls-signature-06, RFC 9380, RFC 8032.
package cosi
