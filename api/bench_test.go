package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
)

// BenchmarkSubmit is a POST of an instruction through every layer but the network.
func BenchmarkSubmit(b *testing.B) {
	d := newDirect(b)
	state := verified()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		r := submit(strconv.Itoa(n%1024), instruction).request(b, "https://bank.example")
		r.TLS = state
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		if w.Code != http.StatusAccepted {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkPayment is a GET of a payment through every layer but the network.
func BenchmarkPayment(b *testing.B) {
	d := newDirect(b)
	state := verified()
	b.ReportAllocs()
	for b.Loop() {
		r := get("/v1/payments/"+uetr).request(b, "https://bank.example")
		r.TLS = state
		w := httptest.NewRecorder()
		d.handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkCheck reads an instruction against its schema.
func BenchmarkCheck(b *testing.B) {
	doc := document(b)
	body := doc.Paths["/v1/payments"].Post.RequestBody.Content[jsonType]
	c, err := compile(doc.Components.Schemas, body.Schema)
	if err != nil {
		b.Fatal(err)
	}
	raw := []byte(instruction)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if wrong, err := c.checkJSON(raw); err != nil || wrong != nil {
			b.Fatal(wrong, err)
		}
	}
}

// BenchmarkSubmitOverTLS is the same over TLS 1.3 and HTTP/2 on loopback, client included.
func BenchmarkSubmitOverTLS(b *testing.B) {
	w := newWorld(b, func(o *Options) { o.Rate = 1 << 30 })
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		res, err := w.http.Do(submit(strconv.Itoa(n%1024), instruction).request(b, w.url))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			b.Fatal(res.StatusCode)
		}
	}
}
