//go:build integration

package iso20022

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

var seed = flag.Uint64("seed", 1, "seed of the changes to the samples")

// lint is the verdict of libxml2 on each document against the base schema of its namespace.
// It needs xmllint (Debian libxml2-utils).
func lint(t *testing.T, definition string, documents [][]byte) []bool {
	t.Helper()
	dir := t.TempDir()
	args := []string{"--noout", "--nonet", "--schema", vectors.Path(t, "iso20022/xsd/iso/"+definition+".xsd")}
	for i, document := range documents {
		name := filepath.Join(dir, fmt.Sprint(i)+".xml")
		if err := os.WriteFile(name, document, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	out, err := exec.CommandContext(t.Context(), "xmllint", args...).CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited { //nolint:errorlint // as it came
		t.Fatal(err)
	}
	valid := make([]bool, len(documents))
	for i := range documents {
		valid[i] = bytes.Contains(out, []byte("/"+fmt.Sprint(i)+".xml validates\n"))
	}
	return valid
}

// cutOut is the first element of that name in a sample and its definition, or nil.
func cutOut(raw []byte, name string) (document []byte, definition string) {
	d := xml.NewDecoder(bytes.NewReader(raw))
	for {
		at := d.InputOffset()
		token, err := d.Token()
		if err != nil {
			return nil, ""
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != name {
			continue
		}
		if d.Skip() != nil {
			return nil, ""
		}
		return raw[at:d.InputOffset()], strings.TrimPrefix(start.Name.Space, namespace)
	}
}

// TestOutputIsValid checks what we send with libxml2.
func TestOutputIsValid(t *testing.T) {
	for _, name := range []string{"pacs.002.settled.xml", "pacs.002.rejected.xml", "pacs.004.xml", "admi.002.xml"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		document, definition := cutOut(raw, "Document")
		if !lint(t, definition, [][]byte{document})[0] {
			t.Errorf("%s is not valid", name)
		}
	}
	b, err := report(t).Encode(header(t))
	if err != nil {
		t.Fatal(err)
	}
	if h, definition := cutOut(b, "AppHdr"); !lint(t, definition, [][]byte{h})[0] {
		t.Error("the header is not valid")
	}
}

// TestParseAgreesWithLibxml2 changes every sample of our messages, and their headers, many
// times and compares the verdicts: what libxml2 refuses, we refuse, and what we alone refuse,
// we refuse for more than the schema says.
func TestParseAgreesWithLibxml2(t *testing.T) {
	byDefinition := map[string][][]byte{}
	random := rand.New(rand.NewPCG(*seed, 0))
	for _, r := range manifest(t) {
		for _, name := range []string{"Document", "AppHdr"} {
			document, definition := cutOut(vectors.Read(t, "iso20022/samples/"+r.file), name)
			if document == nil || schemaOf(definition) == nil {
				continue
			}
			set := append(byDefinition[definition], document)
			for range 40 {
				set = append(set, mutate(t, random, document))
			}
			byDefinition[definition] = set
		}
	}
	refused, stricter := 0, 0
	for definition, documents := range byDefinition {
		for i, valid := range lint(t, definition, documents) {
			err := verdict(documents[i], definition)
			switch {
			case !valid && err == nil:
				t.Errorf("libxml2 refuses what we take:\n%s", documents[i])
			case !valid:
				refused++
			case err != nil:
				stricter++
				if !beyondSchema(refusal(t, err)) {
					t.Errorf("%v, but libxml2 takes:\n%s", err, documents[i])
				}
			}
		}
	}
	t.Logf("both refuse %d, we alone %d", refused, stricter)
	if refused < 500 {
		t.Fatalf("only %d documents refused", refused)
	}
}

// verdict is ours on a document or a header.
func verdict(raw []byte, definition string) error {
	if !strings.HasPrefix(definition, "head.") {
		_, err := Parse(raw)
		return err
	}
	root, err := parseTree(raw)
	if err != nil {
		return err
	}
	if root.name != "AppHdr" || root.space != namespace+definition {
		return root.unknown()
	}
	return root.validate(schemaOf(definition))
}

// beyondSchema tells whether a refusal is one that the schema does not ask for.
func beyondSchema(r *cypherlink.Error) bool {
	if r.Code == CodeMalformed && strings.Contains(r.Pointer, "/Sgntr/") {
		return true // text between the elements of a signature
	}
	switch r.Code {
	case CodeBIC, CodeIBAN, CodeLEI, CodeCurrency, CodeAmount, CodeTransactions:
		return true
	}
	return false
}

// mutate is the document with one change: an element left out, doubled, renamed, emptied or
// exchanged with the next, or a text changed.
func mutate(t *testing.T, random *rand.Rand, document []byte) []byte {
	t.Helper()
	type span struct{ start, inner, innerEnd, end int64 }
	var spans []span
	var open []int
	d := xml.NewDecoder(bytes.NewReader(document))
	for {
		at := d.InputOffset()
		token, err := d.RawToken()
		if err == io.EOF { //nolint:errorlint // RawToken gives it bare
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token.(type) {
		case xml.StartElement:
			open = append(open, len(spans))
			spans = append(spans, span{start: at, inner: d.InputOffset()})
		case xml.EndElement:
			s := &spans[open[len(open)-1]]
			open = open[:len(open)-1]
			s.innerEnd, s.end = at, d.InputOffset()
		}
	}
	s := spans[1+random.IntN(len(spans)-1)]
	cut := func(from, to int64) []byte { return document[from:to] }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	head, tail, whole := document[:s.start], document[s.end:], cut(s.start, s.end)
	switch random.IntN(6) {
	case 0:
		return join(head, tail)
	case 1:
		return join(head, whole, whole, tail)
	case 2:
		return join(head, bytes.ReplaceAll(whole, cut(s.start, s.inner), []byte("<Nope>")), tail)
	case 3:
		return join(document[:s.inner], document[s.innerEnd:])
	case 4:
		for _, next := range spans {
			if next.start > s.end && next.end < int64(len(document)) {
				after := cut(next.start, next.end)
				return join(head, after, cut(s.end, next.start), whole, document[next.end:])
			}
		}
		return join(head, tail)
	default:
		texts := []string{
			"", " ", "x", "0", "-1", "1.5", "2026-11-24", "2026-13-24", "2026-11-24T10:00:00", "true", "DE",
			"EUR",
			strings.Repeat("y", 36), strings.Repeat("z", 141), "1234567890123456789", "0.123456", "AAAADEFF",
			"é漢",
			"DEBT", "eb6305c9-1f7f-49de-aed0-16487c27b42d",
		}
		return join(document[:s.inner], []byte(texts[random.IntN(len(texts))]), document[s.innerEnd:])
	}
}
