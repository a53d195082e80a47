package payment

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// A connector that quotes a hold of centuries keeps a bank's money no longer than the bank would hold it.
func TestEarmarkOfAHostileQuoteEnds(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, _ *Connect) {
		clearing := w.startClearing()
		w.openedBy(clearing.Tellers, a.Tellers)
		w.setFault(func(c call) ([]byte, error) {
			if c.kind != KindQuote {
				return c.serve()
			}
			r, err := DecodeQuoteRequest(c.body)
			if err != nil {
				return nil, err
			}
			q, err := w.dealer().Quote(time.Now(), cypherlink.Hash{1}, w.a.id(), r, w.price)
			if err != nil {
				return nil, err
			}
			q.Source.Account.Number, q.SourceHold = ledger.ChannelNumber, 1<<40
			signature, err := w.clearing.identity.Sign(q.Frame())
			return (&connector.SignedQuote{Quote: *q, Signature: signature}).Encode(), err
		})
		request := &QuoteRequest{Source: assetDCEP(), Destination: assetDE(), Amount: 10, Payee: w.b.id()}
		if _, err := a.askQuote(t.Context(), AskQuote{w.clearing.id(), request}); err != nil {
			t.Fatal(err)
		}
		w.setFault(nil)
		if got := a.Tellers.spare(w.clearing.id(), assetDCEP()); got >= funds {
			t.Errorf("nothing is kept: %d", got)
		}
		time.Sleep(a.Bank.Margins.MaxHold)
		if got := a.Tellers.spare(w.clearing.id(), assetDCEP()); got != funds {
			t.Errorf("%d, want %d", got, funds)
		}
	})
}

// What a connector keeps for a payment to one bank pays no other one: else whoever names another bank than he
// pays would take what is kept for others in that bank's channel.
func TestEarmarkIsForThePayeeThatWasNamed(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		clearing := w.startClearing()
		w.openedBy(clearing.Tellers, a.Tellers)
		o := Opening{Peer: w.clearing.id(), Asset: assetDCEP()}
		if _, _, err := b.Tellers.Open(t.Context(), o, []byte("open"), "open-1"); err != nil {
			t.Fatal(err)
		}
		w.eventually("both channels are there", func() bool {
			return clearing.Tellers.channelWith(w.b.id(), assetDCEP()) != nil
		})
		for _, tt := range []struct {
			name      string
			restarted bool
			want      string
		}{{"another was named", false, "AG03"}, {"nothing is known of it any more", true, ""}} {
			q, err := clearing.Quote(t.Context(), w.a.id(), &QuoteRequest{
				Source: assetDE(), Destination: assetDCEP(), Amount: 10, Payee: w.a.id(),
			})
			if err != nil || q.Quote.Destination.Account.Number != ledger.ChannelNumber {
				t.Fatalf("%+v, %v", q, err)
			}
			if tt.restarted {
				clear(clearing.Tellers.earmarks)
			}
			if got := w.proposed(clearing, &q.Quote); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	})
}

// proposed has A propose terms to the connector on a quote, by which B is paid in a channel. It gives the reason
// of the refusal.
func (w *channelWorld) proposed(clearing *Clearing, q *connector.Quote) string {
	w.tb.Helper()
	now := time.Now()
	account := func(of *player, like cypherlink.Account) cypherlink.Account {
		return alike(like, cypherlink.Account{Owner: of.id()})
	}
	x := &terms.Terms{
		Network: q.Network, UETR: cypherlink.UETR{6: 0x40, 8: 0x80}, Payer: w.a.id(), Payee: w.b.id(),
		Connector: q.Connector, Condition: cypherlink.Condition{1}, Quote: q.Hash(), KYC: cypherlink.Hash{1},
		Legs: []terms.Leg{
			{
				Asset: q.Source.Asset, Amount: q.Source.Amount, Expiry: now.Unix() + q.SourceHold,
				Debit: account(w.a, q.Source.Account), Credit: q.Source.Account,
			},
			{
				Asset: q.Destination.Asset, Amount: q.Destination.Amount, Expiry: now.Unix() + q.DestinationHold,
				Debit: q.Destination.Account, Credit: account(w.b, q.Destination.Account),
			},
		},
	}
	session, _, err := w.rosters.session(x)
	if err != nil {
		w.tb.Fatal(err)
	}
	p := terms.NewProposer(session, terms.Pace{Resend: time.Second, Timeout: time.Minute}, 1)
	e, err := p.Step(now, terms.Submit{Terms: x})
	if err != nil {
		w.tb.Fatal(err)
	}
	raw, err := clearing.Serve(w.tb.Context(), w.a.id(), KindTerms, e.Ask[0].Batch.Encode())
	if err != nil {
		w.tb.Fatal(err)
	}
	answer, err := terms.DecodeAnswer(raw)
	if err != nil {
		w.tb.Fatal(err)
	}
	if len(answer.Refusals) == 0 {
		return ""
	}
	return answer.Refusals[0].Err.Reason
}
