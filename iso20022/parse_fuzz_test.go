package iso20022

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/internal/vectors"
)

// FuzzParse checks that every input is a message or a complete refusal, that what is read
// again says the same, and that a report or return that we may send reads back as it was.
func FuzzParse(f *testing.F) {
	f.Add([]byte(transfer(f)))
	for _, name := range []string{"pacs.002.settled.xml", "pacs.002.rejected.xml", "pacs.004.xml", "admi.002.xml"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"))
	f.Add([]byte("<Envelope><Document xmlns=\"" + namespace + "pacs.002.001.11\"/></Envelope>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw)
		if err != nil {
			refusal(t, err)
			return
		}
		again, err := Parse(raw)
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("read twice: %v", err)
		}
		if err := m.CheckUsage(); err != nil {
			refusal(t, err)
			return
		}
		sent, ok := m.Document.(interface{ Encode(*Header) ([]byte, error) })
		if _, reject := m.Document.(*MessageReject); reject || !ok {
			return
		}
		out, err := sent.Encode(nil)
		if err != nil {
			refusal(t, err) // what the newer or older version of the schema allowed
			return
		}
		back, err := Parse(out)
		if err != nil || !reflect.DeepEqual(truncated(back.Document), truncated(m.Document)) {
			t.Fatalf("%+v, was %+v: %v", back, m.Document, err)
		}
	})
}

// truncated is a report or return with its times in the milliseconds that are sent.
func truncated(d Document) Document {
	if r, ok := d.(*PaymentReturn); ok {
		c := *r
		c.Created = c.Created.Truncate(time.Millisecond)
		c.Original.Created = c.Original.Created.Truncate(time.Millisecond)
		return &c
	}
	r, ok := d.(*StatusReport)
	if !ok {
		return nil
	}
	c := *r
	c.Created = c.Created.Truncate(time.Millisecond)
	c.Group.Original.Created = c.Group.Original.Created.Truncate(time.Millisecond)
	c.Transactions = nil
	for _, t := range r.Transactions {
		t.Original.Created = t.Original.Created.Truncate(time.Millisecond)
		t.Accepted = t.Accepted.Truncate(time.Millisecond)
		c.Transactions = append(c.Transactions, t)
	}
	return &c
}

func BenchmarkParse(b *testing.B) {
	for name, raw := range map[string][]byte{
		"pacs.008":     []byte(transfer(b)),
		"pacs.008.max": vectors.Read(b, "iso20022/samples/cbpr_ur/y2025_pacs.008.max.xml"),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				if err := m.CheckUsage(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	r, h := report(b), header(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Encode(h); err != nil {
			b.Fatal(err)
		}
	}
}
