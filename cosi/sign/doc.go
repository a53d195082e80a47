// Package sign holds the secret keys: it is the only code that can sign.
//
// Its noun is the key, of two kinds: Key (BLS12-381, for what is collective) and Identity
// (Ed25519, for what one participant says alone). Once puts a durable sign-once table in front
// of a key, so that its owner never says two things in one place (invariant I5), across a
// crash at any instruction.
//
// It refuses to sign anything but a valid cosi.Frame: there is no way to have it sign bytes
// that someone else chose. It refuses, through Sign, the frames that bind; those go through
// Once, or through SignRecorded where the caller keeps the table himself. It refuses to print
// a secret, and to read a key file that others may read. Signing runs in constant time
// (circl for BLS12-381, the standard library for Ed25519); its results are those that package
// cosi verifies with another library. Signatures are deterministic, so signing again after a
// crash gives the same bytes.
//
// Sources: draft-irtf-cfrg-bls-signature-06, RFC 9380, RFC 8032.
package sign
