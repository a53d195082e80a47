package sign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"testing"

	bls "github.com/cloudflare/circl/ecc/bls12381"
	circl "github.com/cloudflare/circl/sign/bls"
	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/cosi"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func testKey(tb testing.TB, name string) *Key {
	tb.Helper()
	seed := sha256.Sum256([]byte(name))
	k, err := GenerateKey(bytes.NewReader(seed[:]))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func testIdentity() *Identity { return parseIdentity(sha256.Sum256([]byte("alice"))) }

// The vectors that package cosi verifies: this library gives the same bytes.
func TestMinSigPopVectors(t *testing.T) {
	var v struct {
		Keys []struct{ SK, PK, PoP string }
		Sign []struct {
			Key      int
			Msg, Sig string
		}
	}
	b, err := os.ReadFile("../testdata/min_sig_pop.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	var keys []*Key
	for i, row := range v.Keys {
		k, err := parseKey([32]byte(unhex(t, row.SK)))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		if pub := k.Public().Bytes(); !bytes.Equal(pub[:], unhex(t, row.PK)) {
			t.Errorf("key %d is %x", i, pub)
		}
		if pop := k.Possession(); !bytes.Equal(pop[:], unhex(t, row.PoP)) {
			t.Errorf("proof %d is %x", i, pop)
		}
	}
	for i, row := range v.Sign {
		got := keys[row.Key].sign(unhex(t, row.Msg), cosi.SignatureSuite)
		if !bytes.Equal(got[:], unhex(t, row.Sig)) {
			t.Errorf("signature %d is %x", i, got)
		}
	}
	if len(keys) != 8 || len(v.Sign) != 16 {
		t.Fatalf("%d keys, %d signatures", len(keys), len(v.Sign))
	}
}

func TestDeriveKeyIsKeyGen(t *testing.T) {
	// EIP-2333, test case 0, master key.
	seed := unhex(t, "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e5349553"+
		"1f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04")
	want, _ := new(big.Int).SetString(
		"6083874454709270928345386274498605044986640685124978867557563392430687146096", 10)
	k, err := DeriveKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := k.secret.MarshalBinary(); err != nil || new(big.Int).SetBytes(b).Cmp(want) != 0 {
		t.Fatalf("%x: %v", b, err)
	}
	salt := sha256.Sum256([]byte("BLS-SIG-KEYGEN-SALT-"))
	rapid.Check(t, func(t *rapid.T) {
		ikm := rapid.SliceOfN(rapid.Byte(), 32, 80).Draw(t, "ikm")
		before := bytes.Clone(ikm)
		k, err := DeriveKey(ikm)
		if err != nil || !bytes.Equal(before, ikm) {
			t.Fatal(err)
		}
		oracle, err := circl.KeyGen[circl.G2](ikm, salt[:], nil)
		if err != nil {
			t.Fatal(err)
		}
		pub, err := oracle.PublicKey().MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if own := k.Public().Bytes(); !bytes.Equal(own[:], pub) {
			t.Fatalf("%x, want %x", own, pub)
		}
	})
}

func TestSecretsAreRefused(t *testing.T) {
	if _, err := DeriveKey(make([]byte, 31)); !errors.Is(err, ErrSecret) {
		t.Errorf("31 bytes of material: %v", err)
	}
	if _, err := GenerateKey(strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a source that ends: %v", err)
	}
	if _, err := GenerateIdentity(strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a source that ends: %v", err)
	}
	order := [32]byte(bls.Order())
	above := order
	above[31]++
	for name, b := range map[string][32]byte{"zero": {}, "r": order, "r+1": above} {
		if _, err := parseKey(b); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	below := order
	below[31]-- // ...00000001 - 1
	if _, err := parseKey(below); err != nil {
		t.Errorf("r-1: %v", err)
	}
}

func TestSignaturesVerify(t *testing.T) {
	k, id := testKey(t, "alice"), testIdentity()
	r, err := cosi.NewRoster([]cosi.Member{{Key: k.Public()}}, cosi.All())
	if err != nil {
		t.Fatal(err)
	}
	if err := cosi.VerifyPossession(k.Public(), k.Possession()); err != nil {
		t.Fatal(err)
	}
	f := cosi.Frame{Type: cosi.Terms, Roster: r.Root(), Sequence: 4}
	s, err := k.Sign(f)
	if err != nil || r.VerifyShare(f, 0, s) != nil {
		t.Fatalf("BLS: %v, %v", err, r.VerifyShare(f, 0, s))
	}
	e, err := id.Sign(f)
	if err != nil || cosi.VerifyEd25519(id.Public(), f, e) != nil {
		t.Fatalf("Ed25519: %v, %v", err, cosi.VerifyEd25519(id.Public(), f, e))
	}
}

// A1: what is no frame of a listed type is not signed, by either kind of key.
func TestA1UntypedFramesAreNotSigned(t *testing.T) {
	k, id := testKey(t, "alice"), testIdentity()
	for _, f := range []cosi.Frame{{}, {Type: 0x14}, {Type: 0xff}, {Type: cosi.Terms, Epoch: 1}} {
		once, err := NewOnce(id, newTable())
		if err != nil {
			t.Fatal(err)
		}
		_, e1 := k.Sign(f)
		_, e2 := k.SignRecorded(f)
		_, e3 := id.Sign(f)
		_, e4 := id.SignRecorded(f)
		_, e5 := once.Sign(f)
		e6 := once.Seen(f)
		for i, err := range []error{e2, e4, e5, e6} {
			if !errors.Is(err, cosi.ErrFrame) {
				t.Errorf("%+v, way %d: %v", f, i, err)
			}
		}
		if e1 == nil || e3 == nil {
			t.Errorf("%+v: %v, %v", f, e1, e3)
		}
	}
}

// Which types bind is a decision of the design, not of this code.
func TestFramesThatBindAreNotSignedWithoutATable(t *testing.T) {
	k, id := testKey(t, "alice"), testIdentity()
	binding := "\x02\x03\x04\x06\x07\x09\x0a\x0b\x13"
	for ty := cosi.Checkpoint; ty <= cosi.LaneUpdate; ty++ {
		want := strings.IndexByte(binding, byte(ty)) >= 0
		if Binds(ty) != want {
			t.Errorf("type %#x binds: %t", ty, !want)
		}
		f := cosi.Frame{Type: ty}
		_, err1 := k.Sign(f)
		_, err2 := id.Sign(f)
		if errors.Is(err1, ErrBinds) != want || errors.Is(err2, ErrBinds) != want {
			t.Errorf("type %#x: %v, %v", ty, err1, err2)
		}
		if _, err := k.SignRecorded(f); err != nil {
			t.Errorf("type %#x, recorded: %v", ty, err)
		}
	}
	if !Binds(0) || !Binds(0x14) {
		t.Error("an unknown type does not bind")
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	k, id := testKey(t, "alice"), testIdentity()
	secret, err := k.secret.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{k, *k, id, *id} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("key", "key", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	seen := out.String()
	for _, s := range [][]byte{secret, id.private.Seed()} {
		text := hex.EncodeToString(s)
		numbers := strings.Trim(fmt.Sprintf("%d", s[:4]), "[]")
		for _, form := range []string{string(s), text, strings.ToUpper(text), numbers} {
			if strings.Contains(seen, form) {
				t.Fatalf("a secret is printed as %q", form)
			}
		}
	}
	if strings.Count(seen, "hidden") != 4*9 {
		t.Fatalf("%s", seen)
	}
}
