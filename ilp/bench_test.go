package ilp_test

import (
	"crypto/rand"
	"testing"

	"github.com/cypherlink/cypherlink/ilp"
)

func BenchmarkPrepareEncode(b *testing.B) {
	p := prepare()
	p.Data = make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrepareDecode(b *testing.B) {
	p := prepare()
	p.Data = make([]byte, 100)
	packet, err := p.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ilp.DecodePrepare(packet); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkForward(b *testing.B) {
	packet, err := prepare().Encode()
	if err != nil {
		b.Fatal(err)
	}
	at := prepare().ExpiresAt
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ilp.Forward(packet, 200000, at); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNewPrepare is STREAM encode, encrypt, preimage and condition: the payer's bank.
func BenchmarkNewPrepare(b *testing.B) {
	_, secret, err := ilp.ServerSecret{1}.NewAddress(rand.Reader, base)
	if err != nil {
		b.Fatal(err)
	}
	delivery := ilp.Delivery{Minimum: 200000, Content: make([]byte, 32)}
	at := prepare().ExpiresAt
	b.ReportAllocs()
	for b.Loop() {
		if _, err := secret.NewPrepare(rand.Reader, base, 100100, at, delivery); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReceive is token, preimage, condition, decrypt and STREAM decode: the payee's bank.
func BenchmarkReceive(b *testing.B) {
	server := ilp.ServerSecret{1}
	address, secret, err := server.NewAddress(rand.Reader, base)
	if err != nil {
		b.Fatal(err)
	}
	delivery := ilp.Delivery{Minimum: 200000, Content: make([]byte, 32)}
	p, err := secret.NewPrepare(rand.Reader, address, 200000, prepare().ExpiresAt, delivery)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := server.Receive(base, p); err != nil {
			b.Fatal(err)
		}
	}
}
