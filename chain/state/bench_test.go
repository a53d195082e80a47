package state_test

import (
	"fmt"
	"testing"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// crowd is a payment of 1 from Alice to Bob.
func crowd(w *ledgertest.World, round, i int) ledgertest.Payment {
	return w.Payment(fmt.Sprint("round ", round, " payment ", i), 1, start+900_000)
}

// chunks cuts transactions into payloads that keep the bounds of a block.
func chunks(txs []*state.Transaction) []chain.Payload {
	var out []chain.Payload
	for _, tx := range txs {
		last := len(out) - 1
		if last < 0 || len(out[last]) == chain.MaxTransactions ||
			out[last].Size()+4+len(tx.Encode()) > chain.MaxPayload {
			out, last = append(out, nil), last+1
		}
		out[last] = append(out[last], tx.Encode())
	}
	return out
}

// BenchmarkCommands is the life of 500 custodies: 500 Prepare with two verdicts each and 500
// Confirm, in as many blocks as they need. It says what 1,000 commands cost in all, with every
// signature, the roots, and one synced write a block to Pebble.
func BenchmarkCommands(b *testing.B) {
	for _, tt := range []struct {
		name     string
		verified bool
	}{{"signatures unseen", false}, {"command signatures seen at admission", true}} {
		b.Run(tt.name, func(b *testing.B) {
			store, err := state.OpenPebble(b.TempDir(), options(b))
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			f := weave(b, store)
			now, round, blocks := int64(1), 0, 0
			for b.Loop() {
				b.StopTimer()
				round++
				var prepares, confirms []*ledger.SignedCommand
				for i := range 500 {
					p := crowd(f.World, round, i)
					prepares = append(prepares, f.World.Prepare(p))
					confirms = append(confirms, f.World.Confirm(f.World.Bob, p))
				}
				payloads := append(chunks(transactions(prepares...)), chunks(transactions(confirms...))...)
				if tt.verified {
					f.Verify(transactions(prepares...))
					f.Verify(transactions(confirms...))
				}
				b.StartTimer()
				for _, payload := range payloads {
					now, blocks = now+1, blocks+1
					f.follow(b, now, payload)
				}
			}
			b.ReportMetric(float64(blocks)/float64(round), "blocks/op")
			b.ReportMetric(float64(round)*1000/b.Elapsed().Seconds(), "commands/s")
		})
	}
}

// follow executes and writes a payload, without the committee's signatures.
func (f *fabric) follow(b *testing.B, seconds int64, payload chain.Payload) {
	txs := make([]*state.Transaction, len(payload))
	for i, raw := range payload {
		tx, err := state.DecodeTransaction(raw)
		if err != nil {
			b.Fatal(err)
		}
		txs[i] = tx
	}
	at := (start + seconds) * 1000
	built, err := f.Build(f.Final(), f.Header().Height+1, at, txs)
	if err != nil || len(built.LeftOut) > 0 || len(built.Payload) != len(payload) {
		b.Fatalf("%d of %d: %v", len(built.Payload), len(payload), err)
	}
	header := chain.Header{
		Height: f.Header().Height + 1, TimeMS: at, Parent: chain.Tuple{Block: f.Header().ID()},
		PayloadRoot: built.Payload.Root(), PayloadCount: uint32(len(payload)), Roots: built.Version.Roots(),
	}
	err = f.Commit(built.Version, state.Final{
		Block: chain.Block{Header: header, Payload: built.Payload},
		Proof: chain.FinalityProof{Headers: []chain.Header{header}},
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkEmptyBlock is what an idle network costs: one synced write.
func BenchmarkEmptyBlock(b *testing.B) {
	store, err := state.OpenPebble(b.TempDir(), options(b))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	f := weave(b, store)
	now := int64(1)
	for b.Loop() {
		now++
		f.follow(b, now, nil)
	}
}
