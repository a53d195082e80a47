package sign

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrKeyFile means that a file is not a key file of the kind asked for, is damaged, or that
// others than its owner may read it.
var ErrKeyFile = errors.New("sign: not a usable key file")

// The kinds of key file.
const (
	kindKey      = 1
	kindIdentity = 2
)

const (
	keyDomain   wire.Domain = "cypherlink/keyfile/v1"
	keyPrefix               = "cypherlink-secret-key-v1 "
	checksum                = 8
	keyTextSize             = len(keyPrefix) + 2*(1+secretSize+checksum) + 1
)

// keyText is the only content of a key file: one line of the prefix, which scanners for
// leaked secrets can look for, and in lower-case hexadecimal the kind (1 byte), the secret
// (32) and the first 8 bytes of wire.Sum over both.
func keyText(kind uint8, secret [secretSize]byte) []byte {
	b := append([]byte{kind}, secret[:]...)
	sum := wire.Sum(keyDomain, b)
	text := cypherlink.AppendHex([]byte(keyPrefix), append(b, sum[:checksum]...))
	return append(text, '\n')
}

// parseKeyText takes exactly the form of keyText, of that kind; otherwise ErrKeyFile. The
// error never quotes the text.
func parseKeyText(kind uint8, text []byte) ([secretSize]byte, error) {
	var none [secretSize]byte
	if len(text) != keyTextSize || text[keyTextSize-1] != '\n' {
		return none, fmt.Errorf("%d bytes, want one line of %d: %w", len(text), keyTextSize, ErrKeyFile)
	}
	digits, ok := bytes.CutPrefix(text[:keyTextSize-1], []byte(keyPrefix))
	if !ok {
		return none, fmt.Errorf("does not start with %q: %w", keyPrefix, ErrKeyFile)
	}
	var b [1 + secretSize + checksum]byte
	if cypherlink.DecodeHex(b[:], digits) != nil {
		return none, fmt.Errorf("not lower-case hexadecimal: %w", ErrKeyFile)
	}
	sum := wire.Sum(keyDomain, b[:1+secretSize])
	if !bytes.Equal(sum[:checksum], b[1+secretSize:]) {
		return none, fmt.Errorf("wrong checksum: %w", ErrKeyFile)
	}
	if b[0] != kind {
		return none, fmt.Errorf("kind %d, want %d: %w", b[0], kind, ErrKeyFile)
	}
	return [secretSize]byte(b[1 : 1+secretSize]), nil
}
