package payment

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// An opening is valid for less than the window also for who is behind by as much as he may be.
func TestOpeningOfWhoLags(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, _ *Connect) {
		j, err := a.Tellers.openingOf(&Opening{Peer: w.b.id(), Asset: assetDCEP()})
		if err != nil {
			t.Fatal(err)
		}
		if behind := time.Now().Unix() - lanes().LagS; j.ValidUntil-behind >= lanes().Limits.WindowS {
			t.Errorf("valid until %d, at %d the window is %d s", j.ValidUntil, behind, lanes().Limits.WindowS)
		}
	})
}

// A clearing bank has channels as a bank has: it opens, funds and closes them. It is nobody's creditor's
// bank, so it names none, and what is paid into its lane without terms is money that it did not ask for.
func TestClearingBankHasChannels(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		clearing := w.startClearing()
		id := w.openedBy(clearing.Tellers, b.Tellers)
		if peers := b.Tellers.peersIn(assetDCEP()); len(peers) != 0 {
			t.Errorf("it may be paid: %v", peers)
		}
		alms := channels.Pay{Payment: cypherlink.UETR{6: 0x40, 8: 0x80, 15: 1}, Amount: 7, Terms: cypherlink.Hash{1}}
		talk := LaneTalk{Channel: id, Messages: []channels.Message{
			channels.Offer{Entry: w.writes(w.b, id, alms)},
		}}
		if _, err := clearing.Serve(t.Context(), w.b.id(), KindLane, talk.Encode()); err != nil {
			t.Fatal(err)
		}
		w.eventually("it has the money that it did not ask for", func() bool {
			ch, err := clearing.Tellers.Channel(context.Background(), id)
			return err == nil && ch.Free == funds+7 && ch.Lanes[ch.Own.Other()].Anchored == 1
		})
		if _, err := clearing.Tellers.Order(t.Context(), id, CloseOrder{}, []byte("close"), "close-1"); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*Tellers{clearing.Tellers, b.Tellers} {
			w.eventually("it is closed", func() bool {
				ch, err := s.Channel(context.Background(), id)
				return err == nil && ch.State == channels.Closed
			})
		}
	})
}

func TestTellersOptions(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, _, _ *Connect) {
		s := w.open(w.clearing)
		defer func() { _ = s.Close() }()
		for name, tt := range map[string]struct {
			edit func(*TellersOptions)
			want error
		}{
			"no genesis":         {func(o *TellersOptions) { o.Genesis = nil }, ErrOptions},
			"no store":           {func(o *TellersOptions) { o.Store = nil }, ErrOptions},
			"no chain":           {func(o *TellersOptions) { o.Chain = nil }, ErrOptions},
			"no committee":       {func(o *TellersOptions) { o.Committee = nil }, ErrOptions},
			"no peers":           {func(o *TellersOptions) { o.Peers = nil }, ErrOptions},
			"no lane signer":     {func(o *TellersOptions) { o.LaneSigner = nil }, ErrOptions},
			"no joint signer":    {func(o *TellersOptions) { o.JointSigner = nil }, ErrOptions},
			"no resend":          {func(o *TellersOptions) { o.Resend = 0 }, ErrOptions},
			"another's identity": {func(o *TellersOptions) { o.Identity = signer{w.a} }, ErrOptions},
			"a Validator": {func(o *TellersOptions) {
				o.ID, o.Identity = w.validators[0].id(), signer{w.validators[0]}
			}, ErrBank},
			"an asset of another ledger": {func(o *TellersOptions) { o.Assets = []cypherlink.Asset{assetDE()} }, ErrBank},
			"an unknown asset":           {func(o *TellersOptions) { o.Assets[0].Code = "XXX" }, ErrBank},
			"no lanes":                   {func(o *TellersOptions) { o.Lanes = Lanes{} }, ErrBank},
		} {
			o := w.tellersOptions(w.clearing, s)
			tt.edit(&o)
			if _, err := NewTellers(o); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		others, err := NewTellers(w.tellersOptions(w.a, s))
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewClearing(ClearingOptions{
			Dealer: w.dealer(), Store: s, Identity: signer{w.clearing}, Cosigner: w.clearing.key,
			Prices: prices{w.network}, Tellers: others, Random: rand.Reader, Log: quiet(),
		})
		if !errors.Is(err, ErrOptions) {
			t.Errorf("a clearing bank with another's channels: %v", err)
		}
		o := Options{
			Bank: w.bank(w.b), Store: s, Identity: signer{w.b}, Cosigner: w.b.key, Peers: wireTo{w.world, w.b.id()},
			Customers: w.world.books, Random: rand.Reader, Log: quiet(), Tellers: others,
		}
		if _, err := NewConnect(o); !errors.Is(err, ErrOptions) {
			t.Errorf("a bank with another's channels: %v", err)
		}
		o.Bank.Direct, o.Bank.DirectHold = []cypherlink.Asset{assetDCEP()}, 20*time.Second
		if o.Tellers, err = NewTellers(w.tellersOptions(w.b, s)); err != nil {
			t.Fatal(err)
		}
		if _, err := NewConnect(o); !errors.Is(err, ErrOptions) {
			t.Errorf("a bank without books: %v", err)
		}
		o.Books, o.Anchors = w.books[w.b.id()], w.chain
		o.Tellers.Assets = nil
		if _, err := NewConnect(o); !errors.Is(err, ErrOptions) {
			t.Errorf("a bank that pays over channels that it has not: %v", err)
		}
	})
}
