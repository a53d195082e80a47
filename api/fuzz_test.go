package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
)

// FuzzInstruction holds every body to what the document promises: it is refused with a problem,
// or it is an instruction that a strict and a lenient reader read alike.
func FuzzInstruction(f *testing.F) {
	f.Add([]byte(instruction))
	f.Add([]byte(`{"destination":{"asset":"DC/EP","amount":"1","amount":"2"}}`))
	f.Add([]byte(`{"debtor":null,"Creditor":{},"x":[[[[[[[[[[]]]]]]]]]]}`))
	f.Add([]byte(""))
	f.Add([]byte("\"\\ud800\""))
	f.Add([]byte("{\"end_to_end_id\":\"\xff\"}"))
	d := newDirect(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		clear(d.bank.seen)
		r := submit("k", string(body)).request(t, "https://bank.example")
		r.TLS = verified()
		a := d.serve(r)
		switch a.StatusCode {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			if p := a.problem(t); len(p.Violations) > maxFaults || p.Code == CodeInternal {
				t.Fatalf("%+v", p)
			}
			return
		case http.StatusAccepted:
		default:
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		if !bytes.Equal(d.bank.last.raw, body) {
			t.Fatal("the port got other bytes")
		}
		var i Instruction
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&i); err != nil {
			t.Fatalf("it was accepted, and is none: %v", err)
		}
		again, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		second := submit("l", string(again)).request(t, "https://bank.example")
		second.TLS = verified()
		if a := d.serve(second); a.StatusCode != http.StatusAccepted {
			t.Fatalf("its own form is refused: %s", a.body)
		}
	})
}

// FuzzNegotiate: whatever is accepted, an answer is one of those on offer.
func FuzzNegotiate(f *testing.F) {
	f.Add("application/json;q=0.5, */*;q=0.1")
	f.Add("application/xml;q=NaN,,;")
	f.Fuzz(func(t *testing.T, accept string) {
		got, ok := negotiate([]string{accept}, []string{jsonType, xmlType})
		if ok != (got == jsonType || got == xmlType) {
			t.Fatalf("%q, %t", got, ok)
		}
	})
}
