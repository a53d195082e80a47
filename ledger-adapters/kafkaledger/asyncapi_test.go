package kafkaledger

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// document is what asyncapi.yaml says of the values.
type document struct {
	Components struct {
		Messages map[string]struct {
			Payload struct {
				MaxLength int `yaml:"maxLength"`
			} `yaml:"payload"`
			Kind   uint8   `yaml:"x-kind"`
			Layout []field `yaml:"x-layout"`
		} `yaml:"messages"`
	} `yaml:"components"`
	Types map[string][]field `yaml:"x-types"`
}

type field struct {
	Name string             `yaml:"name"`
	Type string             `yaml:"type"`
	When map[string][]uint8 `yaml:"when"`
}

// walk reads fields as the document describes them, and gives what is left of b.
func (d *document) walk(layout []field, b []byte) ([]byte, error) {
	small := map[string]uint8{}
	for _, f := range layout {
		wanted := true
		for name, values := range f.When {
			wanted = wanted && slices.Contains(values, small[name])
		}
		if !wanted {
			continue
		}
		if f.Type == "u8" && len(b) > 0 {
			small[f.Name] = b[0]
		}
		var err error
		if b, err = d.read(f.Type, b); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return b, nil
}

func (d *document) read(kind string, b []byte) ([]byte, error) {
	size, known := map[string]int{"u8": 1, "u32": 4, "u64": 8, "i64": 8, "b8": 8, "b32": 32, "b64": 64}[kind]
	element, list := strings.CutPrefix(kind, "list of ")
	if kind == "text" || kind == "data" || list {
		if len(b) < 4 {
			return nil, fmt.Errorf("%d bytes, no length", len(b))
		}
		size, known = int(binary.BigEndian.Uint32(b)), true
		b = b[4:]
	}
	switch {
	case list:
		for range size {
			var err error
			if b, err = d.read(element, b); err != nil {
				return nil, err
			}
		}
		return b, nil
	case !known:
		fields, ok := d.Types[kind]
		if !ok {
			return nil, fmt.Errorf("type %s", kind)
		}
		return d.walk(fields, b)
	case len(b) < size:
		return nil, fmt.Errorf("%d bytes, not %d", len(b), size)
	}
	return b[size:], nil
}

// Real values of every kind and shape are read by the document to their last byte.
func TestTheDocumentDescribesTheValues(t *testing.T) {
	raw, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := yaml.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	w := ledgertest.NewWorld()
	p := w.Payment("one", 5, 1_000_000)
	p.Packet = []byte("a packet")
	record := func(state ledger.State) []byte {
		prepare, ok := w.Prepare(p).Command.(*ledger.Prepare)
		if !ok {
			t.Fatal("no Prepare")
		}
		r := ledger.Record{Network: w.Network, Receipt: ledger.Receipt{
			Ledger: w.Ledger, Sequence: 3, TimeMS: 4, Custody: ledger.Custody{
				ID: w.ID(p), Subject: prepare.Subject, Packet: p.Packet, State: state,
			},
		}}
		return r.Encode()
	}
	ramp := ledgertest.NewRamp("cypherium")
	x := ramp.Deposit(1, 5, 1_000_000)
	passage := ramp.Record(x, 1, 7).Encode()
	for _, tt := range []struct {
		name  string
		kind  uint8
		value []byte
	}{
		{"command", kindCommand, w.Prepare(p).Encode()},
		{"command", kindCommand, w.Confirm(w.Bob, p).Encode()},
		{"command", kindCommand, w.Return(w.Bob, p).Encode()},
		{"command", kindCommand, ramp.Leave(ramp.Alice, x).Encode()},
		{"command", kindCommand, ramp.Enter(ramp.Alice, x, passage).Encode()},
		{"passage", kindPassage, passage},
		{"query", kindQuery, testQuery().encode()},
		{"record", kindRecord, record(ledger.Absent)},
		{"record", kindRecord, record(ledger.Prepared)},
		{"record", kindRecord, record(ledger.Confirmed)},
		{"record", kindRecord, record(ledger.Returned)},
		{"refusal", kindRefusal, testRefusal().encode()},
	} {
		m := d.Components.Messages[tt.name]
		if m.Kind != tt.kind || m.Payload.MaxLength != maxValue {
			t.Errorf("%s: kind %d, at most %d bytes", tt.name, m.Kind, m.Payload.MaxLength)
		}
		if left, err := d.walk(m.Layout, tt.value); err != nil || len(left) > 0 {
			t.Errorf("%s: %d bytes are left of %d, %v", tt.name, len(left), len(tt.value), err)
		}
	}
	if len(d.Components.Messages) != 5 {
		t.Errorf("%d messages", len(d.Components.Messages))
	}
}
