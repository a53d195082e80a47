package api

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/payment"
)

func TestSubmitOverTLS(t *testing.T) {
	w := newWorld(t)
	a := w.do(submit("key-1", instruction))
	if a.StatusCode != http.StatusAccepted || a.Header.Get("Location") != "/v1/payments/"+uetr ||
		a.Header.Get("Content-Type") != jsonType || a.Header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	const want = `{"uetr":"eb6305c9-1f7f-49de-aed0-16487c27b42d","end_to_end_id":"INV-2026-0042",` +
		`"direction":"outgoing","status":"RECEIVED","iso_status":"RCVD","final":false,` +
		`"destination":{"asset":"DC/EP","amount":"2000.00"},` +
		`"created":"2026-11-24T09:30:00.123Z","updated":"2026-11-24T09:30:00.123Z"}`
	if string(a.body) != want {
		t.Fatalf("%s", a.body)
	}
	now := w.bank.last
	if string(now.raw) != instruction || now.format != payment.JSON ||
		now.key != spki(w.client).String()+"/key-1" {
		t.Fatalf("the port got key %q, format %d and %q", now.key, now.format, now.raw)
	}
}

func TestIdempotencyKey(t *testing.T) {
	other := strings.Replace(instruction, "2000.00", "2000.01", 1)
	busy := &cypherlink.Error{Code: CodeKeyBusy, Reason: "DUPL", Message: "the first request still runs"}
	tests := []struct {
		name   string
		header []string
		body   string
		err    error
		status int
		code   cypherlink.Code
	}{
		{"the same key and body are answered as before", []string{keyName, "k"}, instruction, nil, 202, ""},
		{
			"the same key and another body are refused",
			[]string{keyName, "k"},
			other, nil, 422, payment.CodeKeyReused,
		},
		{"another key is another request", []string{keyName, "l"}, instruction, nil, 202, ""},
		{"a key in progress is a conflict", []string{keyName, "k"}, instruction, busy, 409, CodeKeyBusy},
		{"no key", nil, instruction, nil, 400, CodeKeyMissing},
		{"an empty key", []string{keyName, ""}, instruction, nil, 400, CodeKeyInvalid},
		{"a key of 64 characters", []string{keyName, strings.Repeat("k", 64)}, instruction, nil, 202, ""},
		{
			"a key of 65 characters",
			[]string{keyName, strings.Repeat("k", 65)},
			instruction, nil, 400, CodeKeyInvalid,
		},
		{"a key that is not ASCII", []string{keyName, "clé"}, instruction, nil, 400, CodeKeyInvalid},
		{"two keys", []string{keyName, "a", keyName, "b"}, instruction, nil, 400, CodeKeyInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirect(t)
			if a := d.do(submit("k", instruction)); a.StatusCode != http.StatusAccepted {
				t.Fatalf("the first: %d %s", a.StatusCode, a.body)
			}
			d.bank.err = tt.err
			header := append([]string{"Content-Type", jsonType}, tt.header...)
			a := d.do(call{http.MethodPost, "/v1/payments", tt.body, header})
			if a.StatusCode != tt.status {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			if tt.code != "" {
				if p := a.problem(t); p.Code != tt.code {
					t.Fatalf("%+v", p)
				}
			}
			replayed := a.StatusCode == http.StatusAccepted && len(tt.header) == 2 && tt.header[1] == "k"
			if (a.Header.Get("Idempotency-Replayed") == "true") != replayed {
				t.Fatalf("%v", a.Header)
			}
			if (a.Header.Get("Retry-After") == "1") != (tt.code == CodeKeyBusy) {
				t.Fatalf("%v", a.Header)
			}
		})
	}
}

func TestIdempotencyKeysOfTwoClientsAreApart(t *testing.T) {
	w := newWorld(t)
	other := w.as(w.authority.issue(t, "other", false))
	w.do(submit("k", instruction))
	a := w.doAs(other, submit("k", strings.Replace(instruction, "2000.00", "5.00", 1)))
	if a.StatusCode != http.StatusAccepted || a.Header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
}

func TestPaymentByMediaType(t *testing.T) {
	tests := []struct {
		name, accept, want string
	}{
		{"no Accept is JSON", "", jsonType},
		{"anything is JSON", "*/*", jsonType},
		{"JSON", "application/json", jsonType},
		{"XML", "application/xml", xmlType},
		{"XML with a parameter", "application/xml;charset=utf-8", xmlType},
		{"XML is preferred", "application/json;q=0.5, application/xml", xmlType},
		{"JSON is preferred", "application/xml;q=0.1, application/json;q=0.2", jsonType},
		{"the specific range counts", "application/json;q=0, */*", xmlType},
		{"a whole type", "application/*", jsonType},
		{"neither", "text/html", ""},
		{"nothing at all", "*/*;q=0", ""},
		{"a weight that is none", "application/json;q=x", ""},
		{"a malformed range", ";;", ""},
	}
	d := newDirect(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := get("/v1/payments/" + uetr)
			if tt.accept != "" {
				c.header = []string{"Accept", tt.accept}
			}
			a := d.do(c)
			if tt.want == "" {
				if p := a.problem(t); p.Code != CodeNotAcceptable || p.Status != 406 {
					t.Fatalf("%+v", p)
				}
				return
			}
			if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != tt.want ||
				a.Header.Get("Vary") != "Accept" {
				t.Fatalf("%d %v", a.StatusCode, a.Header)
			}
			if tt.want == xmlType && !strings.Contains(string(a.body), "pacs.002.001.10") {
				t.Fatalf("%s", a.body)
			}
		})
	}
}

func TestReceiptIsServedAsItIsStored(t *testing.T) {
	d := newDirect(t)
	a := d.do(get("/v1/payments/" + uetr + "/receipt"))
	if a.StatusCode != http.StatusOK || string(a.body) != receiptBytes ||
		a.Header.Get("Content-Type") != jsonType {
		t.Fatalf("%d %v %q", a.StatusCode, a.Header, a.body)
	}
	d.bank.err = &cypherlink.Error{Code: payment.CodeNoReceipt, Message: "the payment is not final"}
	a = d.do(get("/v1/payments/" + uetr + "/receipt"))
	p := a.problem(t)
	if p.Code != payment.CodeNoReceipt || p.Status != 409 || a.Header.Get("Retry-After") != "1" {
		t.Fatalf("%+v %v", p, a.Header)
	}
	d.bank.err = &cypherlink.Error{Code: payment.CodeReceiptless, Message: "the payment has ended"}
	a = d.do(get("/v1/payments/" + uetr + "/receipt"))
	p = a.problem(t)
	if p.Code != payment.CodeReceiptless || p.Status != 422 || a.Header.Get("Retry-After") != "" {
		t.Fatalf("%+v %v", p, a.Header)
	}
}

func TestReturnIsServed(t *testing.T) {
	d := newDirect(t)
	a := d.do(get("/v1/payments/" + uetr + "/return"))
	if a.StatusCode != http.StatusOK || string(a.body) != "<Document/>" || a.Header.Get("Content-Type") != xmlType {
		t.Fatalf("%d %v %q", a.StatusCode, a.Header, a.body)
	}
	d.bank.err = &cypherlink.Error{Code: payment.CodeNoReturn, Message: "it brings nothing back"}
	if p := d.do(get("/v1/payments/" + uetr + "/return")).problem(t); p.Code != payment.CodeNoReturn || p.Status != 422 {
		t.Fatalf("%+v", p)
	}
}

func TestUnknownPayment(t *testing.T) {
	d := newDirect(t)
	escaped := strings.Replace(uetr, "-", "%2D", 1)
	for _, id := range []string{unknown, "x", strings.ToUpper(uetr), escaped} {
		for _, suffix := range []string{"", "/events", "/receipt", "/return"} {
			a := d.do(get("/v1/payments/" + id + suffix))
			if p := a.problem(t); p.Code != payment.CodeUnknown || p.Status != 404 {
				t.Errorf("%s%s: %+v", id, suffix, p)
			}
		}
	}
}

func manyEvents(n int) []payment.Entry {
	var all []payment.Entry
	for i := range n {
		all = append(all, payment.Entry{
			Sequence: int64(i) + 1, At: time.Date(2026, 11, 24, 9, 30, i, 0, time.UTC), Kind: "agreed",
			From: payment.StatusNegotiating, To: payment.StatusAgreed, Detail: "all signed",
			Actor: "parties", Reason: "NARR", Hash: cypherlink.Hash{1},
			Evidence: []payment.Evidence{
				{Kind: "block", Ledger: "cypherium", Height: 7, Hash: cypherlink.Hash{2}},
				{Kind: "record", Ledger: "de", Sequence: 9, Hash: cypherlink.Hash{3}},
			},
		})
	}
	return all
}

func TestEventSaysWhatAndWhereItsProofLies(t *testing.T) {
	d := newDirect(t)
	d.bank.events = manyEvents(1)
	a := d.do(get("/v1/payments/" + uetr + "/events"))
	zeros := strings.Repeat("0", 62)
	want := `{"items":[{"sequence":1,"time":"2026-11-24T09:30:00Z","kind":"agreed","status":"AGREED",` +
		`"iso_status":"ACCP","actor":"parties","iso_reason":"NARR","reason":"all signed",` +
		`"hash":"01` + zeros + `","evidence":[` +
		`{"kind":"block","ledger":"cypherium","height":7,"hash":"02` + zeros + `"},` +
		`{"kind":"record","ledger":"de","sequence":9,"hash":"03` + zeros + `"}]}]}`
	if string(a.body) != want {
		t.Fatalf("%s", a.body)
	}
}

func TestEventsInPages(t *testing.T) {
	d := newDirect(t)
	d.bank.events = manyEvents(7)
	for _, limit := range []int{1, 2, 3, 7, 8, 200} {
		t.Run(fmt.Sprintf("%d a page", limit), func(t *testing.T) {
			var seen []Event
			next := fmt.Sprintf("/v1/payments/%s/events?limit=%d", uetr, limit)
			for pages := 0; next != ""; pages++ {
				a := d.do(get(next))
				var page Events
				if err := json.Unmarshal(a.body, &page); err != nil || a.StatusCode != http.StatusOK {
					t.Fatalf("%v: %s", err, a.body)
				}
				if len(page.Items) > limit || len(page.Items) == 0 || pages > 7 {
					t.Fatalf("page %d has %d items", pages, len(page.Items))
				}
				seen, next = append(seen, page.Items...), page.Next
			}
			for i, e := range seen {
				if e.Sequence != uint64(i)+1 {
					t.Fatalf("item %d is %d", i, e.Sequence)
				}
			}
			if len(seen) != 7 {
				t.Fatalf("%d items", len(seen))
			}
		})
	}
	t.Run("no events are an empty page", func(t *testing.T) {
		d.bank.events = nil
		a := d.do(get("/v1/payments/" + uetr + "/events"))
		if string(a.body) != `{"items":[]}` {
			t.Fatalf("%s", a.body)
		}
	})
}

func TestCursorIsCanonical(t *testing.T) {
	for _, n := range []uint64{0, 1, 50, 1<<64 - 1} {
		if got, err := parseCursor(cursor(n)); err != nil || got != n {
			t.Errorf("%d: %d, %v", n, got, err)
		}
	}
	for _, s := range []string{
		"", "AAAAAAAAAD", "AAAAAAAAADJ", "AAAAAAAAAD=", "AAAAAAAAADIA", "AAAAAAAAA\nI", "++++++++++8",
	} {
		if _, err := parseCursor(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	a := w.do(get("/healthz"))
	if a.StatusCode != http.StatusOK || string(a.body) != `{"status":"ok"}` {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
}

func TestPaymentResource(t *testing.T) {
	d := newDirect(t)
	p := d.bank.found
	p.Status, p.Loss, p.Terms = payment.StatusSettled, true, cypherlink.Hash{4}
	p.Source = &payment.Money{Asset: de(), Amount: 100100}
	read := func() (got Payment) {
		t.Helper()
		a := d.do(get("/v1/payments/" + uetr))
		if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		return got
	}
	got := read()
	if got.Status != "SETTLED" || got.ISOStatus != "ACSC" || !got.Final || !got.Loss ||
		got.Terms != "04"+strings.Repeat("0", 62) || got.Source != (Money{"DE", "1001.00"}) {
		t.Fatalf("%+v", got)
	}
	p.Status, p.Source, p.Destination, p.Loss = payment.StatusRejected, nil, nil, false
	p.Refusal = &cypherlink.Error{
		Code: payment.CodeAgent, Reason: "RC04", Pointer: "/creditor/agent", Message: "not in the network",
		Err: errors.New("hunter2"),
	}
	got = read()
	if got.Status != "REJECTED" || got.ISOStatus != "RJCT" || got.ISOReason != "RC04" || got.Loss ||
		got.Reason != "not in the network" || got.Pointer != "/creditor/agent" ||
		got.Source != (Money{}) || got.Destination != (Money{}) {
		t.Fatalf("%+v", got)
	}
}

// TestWhatTheFormTakesIsAnInstruction holds the published form of an instruction against the
// reader of package payment.
func TestWhatTheFormTakesIsAnInstruction(t *testing.T) {
	d := newDirect(t)
	for _, body := range []string{
		instruction,
		with(t, instruction, "/uetr", nil),
		with(t, instruction, "/debtor/lei", "529900T8BM49AURSDO55"),
		with(t, with(t, instruction, "/creditor/account", nil), "/creditor/iban", "DE89370400440532013000"),
		with(t, with(t, instruction, "/purpose", nil), "/remittance", nil),
		with(t, instruction, "/destination/asset", "CNY@cypherium"),
	} {
		clear(d.bank.seen)
		if a := d.do(submit("k", body)); a.StatusCode != http.StatusAccepted {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		i, err := payment.Parse([]byte(body), payment.JSON, rand.Reader)
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if i.Debtor.Name != "Alice Example" || i.CreditorAgent.String() != "CYPBCNBJXXX" ||
			i.Amount != "2000.00" {
			t.Fatalf("%+v", i)
		}
	}
}

func TestQuote(t *testing.T) {
	w := newWorld(t)
	a := w.do(ask("q", quoteRequest))
	var q Quote
	if err := json.Unmarshal(a.body, &q); err != nil || a.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	signed := q.Signed
	q.Signed = nil
	if want := (Quote{
		ID: "9f" + strings.Repeat("0", 62), Source: Money{"DE", "1001.00"}, Fee: Money{"DE", "1.00"},
		Destination: Money{"DC/EP", "2000.00"}, Rate: Rate{"2", "1"}, SourceHold: 32, DestinationHold: 20,
		ValidUntil: time.Date(2026, 11, 24, 9, 31, 0, 0, time.UTC),
	}); !reflect.DeepEqual(q, want) || len(signed) < 64 {
		t.Fatalf("%+v and %d bytes", q, len(signed))
	}
	now := w.bank.last
	if string(now.raw) != quoteRequest || now.key != spki(w.client).String()+"/q" ||
		now.asker != (cypherlink.ParticipantID{}) ||
		now.quote != (payment.QuoteRequest{Source: de(), Destination: dcep(), Amount: 200000}) {
		t.Fatalf("%+v", now)
	}
	again := w.do(ask("q", quoteRequest))
	if again.Header.Get("Idempotency-Replayed") != "true" || string(again.body) != string(a.body) {
		t.Fatalf("%v %s", again.Header, again.body)
	}
	w.bank.err = &cypherlink.Error{Code: payment.CodeNoQuote, Reason: "AM03", Message: "not dealt in"}
	p := w.do(ask("r", quoteRequest)).problem(t)
	if p.Code != payment.CodeNoQuote || p.ISOReason != "AM03" || p.Status != 422 {
		t.Fatalf("%+v", p)
	}
}

func TestQuoteNamesKnownAssetsAndBanks(t *testing.T) {
	d := newDirect(t)
	g := genesis(t)
	bank, clearing := g.File().Participants[chaintest.Members], g.File().Participants[chaintest.Members+2]
	for _, tt := range []struct {
		name, pointer, value string
		code                 cypherlink.Code
	}{
		{"a bank of the network", "/debtor_agent", bank.BIC.String(), ""},
		{"the same bank in 8 characters", "/debtor_agent", bank.BIC.String()[:8], ""},
		{"a bank of no network", "/debtor_agent", "CYPBCNBJXXX", payment.CodeAgent},
		{"a clearing bank", "/debtor_agent", clearing.BIC.String(), payment.CodeAgent},
		{"an asset by a code that two ledgers have", "/source/asset", "EUR", payment.CodeAsset},
		{"an asset by its code", "/destination/asset", "CNY", ""},
		{"an asset by code and ledger", "/source/asset", "EUR@de", ""},
		{"an unknown asset", "/source/asset", "GBP", payment.CodeAsset},
		{"an unknown destination", "/destination/asset", "CNY@de", payment.CodeAsset},
		{"too many digits", "/destination/amount", "1.001", iso20022.CodeAmount},
		{"nothing", "/destination/amount", "0.00", iso20022.CodeAmount},
		{"more than there is", "/destination/amount", "9999999999999999999", iso20022.CodeAmount},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clear(d.bank.seen)
			a := d.do(ask("k", with(t, quoteRequest, tt.pointer, tt.value)))
			if tt.code == "" {
				asked := tt.pointer == "/debtor_agent"
				if a.StatusCode != http.StatusCreated || asked != (d.bank.last.asker == bank.ID) {
					t.Fatalf("%d %s, asker %s", a.StatusCode, a.body, d.bank.last.asker)
				}
				return
			}
			p := a.problem(t)
			if p.Code != tt.code || p.Status != 422 || p.Violations[0].Pointer != tt.pointer {
				t.Fatalf("%+v", p)
			}
		})
	}
}

func TestOperationsOfAPortThatIsNotThere(t *testing.T) {
	onlyQuotes := newWorld(t, func(o *Options) { o.Payments, o.Documents = nil, nil })
	if p := onlyQuotes.do(submit("k", instruction)).problem(t); p.Code != CodeNotFound {
		t.Fatalf("%+v", p)
	}
	onlyPayments := newWorld(t, func(o *Options) { o.Quotes, o.Channels, o.Crossings = nil, nil, nil })
	a := onlyPayments.do(get(documentPath))
	for path, there := range map[string]bool{
		"/v1/payments": true, "/v1/quotes": false, "/v1/channels": false, "/v1/crossings": false,
	} {
		if strings.Contains(string(a.body), path) != there {
			t.Fatalf("%s: %s", path, a.body)
		}
	}
}
