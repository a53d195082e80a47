package api

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/payment"
)

func pacs008(tb testing.TB) string {
	tb.Helper()
	b, err := os.ReadFile("../iso20022/testdata/pacs.008.xml")
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func TestMessage(t *testing.T) {
	w := newWorld(t)
	a := w.do(message(pacs008(t)))
	if a.StatusCode != http.StatusAccepted || a.Header.Get("Content-Type") != xmlType ||
		a.Header.Get("Location") != "/v1/payments/"+uetr {
		t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	m, err := iso20022.Parse(a.body)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Document.(*iso20022.StatusReport); !ok {
		t.Fatalf("%T", m.Document)
	}
	if now := w.bank.last; now.format != payment.XML || string(now.raw) != pacs008(t) {
		t.Fatalf("%+v", now)
	}
	if again := w.do(message(pacs008(t))); again.Header.Get("Idempotency-Replayed") != "true" {
		t.Fatalf("%v", again.Header)
	}
}

func TestMessageIsRefusedInItsOwnLanguage(t *testing.T) {
	good := pacs008(t)
	change := func(old, by string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		return strings.ReplaceAll(good, old, by)
	}
	const bomb = `<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>` +
		`<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08">&b;</Document>`
	const external = `<!DOCTYPE d SYSTEM "file:///etc/passwd"><Document/>`
	tests := []struct {
		name, body string
		status     int
		reason     string
		location   string
	}{
		{"an entity bomb", bomb, 400, "FF01", ""},
		{"an external document type", external, 400, "FF01", ""},
		{"no XML", "hello", 400, "FF01", ""},
		{"nothing", " ", 400, "FF01", ""},
		{"cut off", good[:len(good)/2], 400, "FF01", ""},
		{"two documents", good + good, 400, "FF01", ""},
		{"deeper than is read", strings.Repeat("<a>", 100), 413, "FF01", ""},
		{"another message", change("pacs.008.001.08", "pacs.999.001.08"), 400, "FF01", ""},
		{"an unknown element", change("<NbOfTxs>", "<Evil/><NbOfTxs>"), 400, "FF01", "/GrpHdr/Evil"},
		{
			"an amount with too many digits",
			change(`Ccy="CNY">2000.00<`, `Ccy="CNY">2000.001<`), 422, "CH20", "IntrBkSttlmAmt",
		},
	}
	d := newDirect(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := d.do(message(tt.body))
			if a.StatusCode != tt.status || a.Header.Get("Content-Type") != xmlType {
				t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
			}
			m, err := iso20022.Parse(a.body)
			if err != nil {
				t.Fatal(err)
			}
			r, ok := m.Document.(*iso20022.MessageReject)
			if !ok || r.Reason != tt.reason || !strings.Contains(r.Location, tt.location) ||
				r.Description == "" {
				t.Fatalf("%T %+v", m.Document, r)
			}
			if len(d.bank.seen) != 0 {
				t.Fatal("the port took it")
			}
		})
	}
}

func TestMessageProblems(t *testing.T) {
	tests := []struct {
		name   string
		call   call
		err    error
		status int
		code   cypherlink.Code
	}{
		{"a fault of ours", message(pacs008(t)), errors.New("disk full"), 500, CodeInternal},
		{
			"still in progress",
			message(pacs008(t)), &cypherlink.Error{Code: CodeKeyBusy, Message: "busy"}, 409, CodeKeyBusy,
		},
		{
			"as JSON",
			call{http.MethodPost, "/v1/iso20022", "{}", []string{"Content-Type", jsonType}},
			nil, 415, CodeMediaType,
		},
		{"not taken as XML", call{
			http.MethodPost, "/v1/iso20022", pacs008(t),
			[]string{"Content-Type", xmlType, "Accept", jsonType},
		}, nil, 406, CodeNotAcceptable},
		{"too large", message(strings.Repeat(" ", maxXML+1)), nil, 413, CodeBodyTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirect(t)
			d.bank.err = tt.err
			if p := d.do(tt.call).problem(t); p.Code != tt.code || p.Status != tt.status {
				t.Fatalf("%+v", p)
			}
		})
	}
	t.Run("of the size that is read", func(t *testing.T) {
		d := newDirect(t)
		body := pacs008(t)
		body += strings.Repeat("\n", maxXML-len(body))
		if a := d.do(message(body)); a.StatusCode != http.StatusAccepted {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	})
	t.Run("the same MsgId with another body", func(t *testing.T) {
		d := newDirect(t)
		d.do(message(pacs008(t)))
		a := d.do(message(pacs008(t) + "\n"))
		if a.StatusCode != http.StatusUnprocessableEntity || a.Header.Get("Content-Type") != xmlType ||
			!strings.Contains(string(a.body), "DU01") {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	})
}
