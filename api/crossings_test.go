package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

func (b *bank) Cross(
	ctx context.Context, asset cypherlink.Asset, amount cypherlink.Amount, key string,
) (x ledger.Crossing, stage connector.Stage, replayed bool, err error) {
	b.crossing = ledger.Crossing{Asset: asset, Amount: amount, Expiry: 1764000000, Nonce: 7}
	b.stage = max(b.stage, connector.Leaving)
	raw := fmt.Appendf(nil, "%s %d", asset, amount)
	replayed, err = b.once(ctx, "crossing "+key, submitted{raw: raw, key: key})
	return b.crossing, b.stage, replayed, err
}

func (b *bank) Crossing(ctx context.Context, id ledger.CrossingID) (ledger.Crossing, connector.Stage, error) {
	_, err := b.once(ctx, "", submitted{})
	if err == nil && (b.stage == 0 || b.crossing.ID(b.network) != id) {
		err = &cypherlink.Error{Code: CodeNoCrossing, Message: "no such crossing"}
	}
	return b.crossing, b.stage, err
}

func TestCrossings(t *testing.T) {
	w := newWorld(t)
	w.bank.network = genesis(t).Network()
	for _, tt := range []struct{ from, to string }{{"DC/EP", "DC/EP.C"}, {"DC/EP.C", "DC/EP"}} {
		body := fmt.Sprintf(`{"asset":"%s","amount":"10000.5"}`, tt.from)
		for _, replayed := range []string{"", "true"} {
			w.bank.stage = 0
			a := w.do(post("/v1/crossings", tt.from, body))
			x := w.bank.crossing
			id := x.ID(w.bank.network).String()
			want := fmt.Sprintf(`{"id":"%s","from":{"asset":"%s","amount":"10000.50"},`+
				`"to":{"asset":"%s","amount":"10000.50"},"stage":"leaving","final":false,`+
				`"expires":"2025-11-24T16:00:00Z"}`, id, tt.from, tt.to)
			if a.StatusCode != http.StatusAccepted || string(a.body) != want ||
				a.Header.Get("Location") != "/v1/crossings/"+id ||
				a.Header.Get("Idempotency-Replayed") != replayed || x.Amount != 1000050 {
				t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
			}
			for stage := connector.Leaving; stage <= connector.Lapsed; stage++ {
				w.bank.stage = stage
				end := fmt.Sprintf(`"stage":"%s","final":%t`, stage, stage >= connector.Arrived)
				if got := w.do(get("/v1/crossings/" + id)); got.StatusCode != http.StatusOK || string(got.body) !=
					strings.Replace(want, `"stage":"leaving","final":false`, end, 1) {
					t.Fatalf("%d %s", got.StatusCode, got.body)
				}
			}
		}
		if w.bank.last.key != spki(w.client).String()+"/"+tt.from {
			t.Fatalf("the port got the key %q", w.bank.last.key)
		}
	}
	for _, id := range []string{strings.Repeat("0", 64), "x"} {
		if p := w.do(get("/v1/crossings/" + id)).problem(t); p.Code != CodeNoCrossing || p.Status != 404 {
			t.Errorf("%+v", p)
		}
	}
}

func TestCrossingsThatAreRefused(t *testing.T) {
	full := &cypherlink.Error{Code: CodeCrossings, Reason: "AM23", Message: "wait"}
	for _, tt := range []struct {
		name, body string
		err        error
		status     int
		code       cypherlink.Code
		reason     string
	}{
		{"an unknown asset", `{"asset":"XX","amount":"1"}`, nil, 422, payment.CodeAsset, "AM03"},
		{"nothing", `{"asset":"DE","amount":"0"}`, nil, 422, iso20022.CodeAmount, "AM12"},
		{"three digits", `{"asset":"DE","amount":"0.001"}`, nil, 422, iso20022.CodeAmount, "AM12"},
		{"a number", `{"asset":"DE","amount":1}`, nil, 422, CodeInvalid, "AM12"},
		{"no asset", `{"amount":"1"}`, nil, 422, CodeInvalid, "AM11"},
		{"too many", `{"asset":"DE","amount":"1"}`, full, 503, CodeCrossings, "AM23"},
		{"another amount under the key", `{"asset":"DC/EP","amount":"2"}`, nil, 422, payment.CodeKeyReused, "DU01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirect(t)
			if a := d.do(post("/v1/crossings", "k", `{"asset":"DC/EP","amount":"1"}`)); a.StatusCode != http.StatusAccepted {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			d.bank.err = tt.err
			p := d.do(post("/v1/crossings", "k", tt.body)).problem(t)
			if p.Code != tt.code || p.Status != tt.status || p.ISOReason != tt.reason ||
				tt.reason != "" && !iso20022.KnownReason(tt.reason) {
				t.Fatalf("%+v", p)
			}
		})
	}
}
