package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// opened is a ramp without ledgers: what it begins stays where it is.
func opened(t *testing.T, owner cypherlink.ParticipantID) *keyedRamp {
	t.Helper()
	key, err := sign.GenerateIdentity(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	st, err := openStore(t.Context(), "", path(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	r := connector.NewRamp(connector.RampOptions{
		Store: st, Signer: identity{key, owner}, Resend: time.Hour, Log: slog.New(slog.DiscardHandler),
		To: map[cypherlink.Asset]cypherlink.LedgerID{
			assetDE(): ledgerCypherium, assetClaim(): ledgerDE,
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		run.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return &keyedRamp{ramp: r}
}

func TestOneKeyBeginsOneCrossing(t *testing.T) {
	owner := cypherlink.ParticipantID{1}
	k := opened(t, owner)
	first, stage, replayed, err := k.Cross(t.Context(), assetDE(), 100, "k")
	if err != nil || stage != connector.Leaving || replayed {
		t.Fatal(stage, replayed, err)
	}
	if first.Owner != owner || first.Asset != assetDE() || first.Amount != 100 || first.From != 0 ||
		first.To != 0 || first.Expiry <= time.Now().Unix() {
		t.Fatalf("%+v", first)
	}
	again, stage, replayed, err := k.Cross(t.Context(), assetDE(), 100, "k")
	if err != nil || stage != connector.Leaving || !replayed || again != first {
		t.Fatal(again, stage, replayed, err)
	}
	other, _, replayed, err := k.Cross(t.Context(), assetDE(), 100, "l")
	if err != nil || replayed || other.Nonce == first.Nonce {
		t.Fatal(other, replayed, err)
	}
	for _, x := range []ledger.Crossing{first, other} {
		if got, stage, err := k.Crossing(t.Context(), x.ID(k.ramp.Network)); got != x || stage != connector.Leaving ||
			err != nil {
			t.Fatal(got, stage, err)
		}
	}
}

func TestCrossingsThatAreRefused(t *testing.T) {
	k := opened(t, cypherlink.ParticipantID{1})
	if _, _, _, err := k.Cross(t.Context(), assetDE(), 100, "k"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		asset  cypherlink.Asset
		amount cypherlink.Amount
		code   cypherlink.Code
	}{
		{"another amount under the key", assetDE(), 101, payment.CodeKeyReused},
		{"the other way under the key", assetClaim(), 100, payment.CodeKeyReused},
		{"an asset that crosses nowhere", cypherlink.Asset{Ledger: ledgerDE, Code: "XXX"}, 100, payment.CodeRoute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, _, err := k.Cross(t.Context(), tt.asset, tt.amount, "k"); cypherlink.ErrorCode(err) != tt.code {
				t.Fatal(err)
			}
		})
	}
	if _, _, err := k.Crossing(t.Context(), ledger.CrossingID{1}); cypherlink.ErrorCode(err) != api.CodeNoCrossing {
		t.Fatal(err)
	}
}

// Of many requests with one key one begins a crossing, whatever they ask for.
func TestOneKeyAtATime(t *testing.T) {
	k := opened(t, cypherlink.ParticipantID{1})
	var asking sync.WaitGroup
	var mu sync.Mutex
	began := 0
	for n := range 8 {
		asset := []cypherlink.Asset{assetDE(), assetClaim()}[n%2]
		asking.Go(func() {
			_, _, replayed, err := k.Cross(t.Context(), asset, 100, "k")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && !replayed:
				began++
			case err != nil && cypherlink.ErrorCode(err) != payment.CodeKeyReused:
				t.Error(err)
			}
		})
	}
	asking.Wait()
	if began != 1 {
		t.Fatalf("%d crossings", began)
	}
}
