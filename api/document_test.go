package api

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
)

var update = flag.Bool("update", false, "write openapi.yaml")

// TestDocument compares the document of a server with every operation with the file that
// people review.
func TestDocument(t *testing.T) {
	d := newDirect(t)
	a := d.do(get(documentPath))
	if a.Header.Get("Content-Type") != "application/openapi+yaml" {
		t.Fatalf("%v", a.Header)
	}
	if *update {
		if err := os.WriteFile("openapi.yaml", a.body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.body, want) {
		t.Fatal("openapi.yaml is not what is served: go test ./api -update, and read the difference")
	}
}

func document(t testing.TB) *huma.OpenAPI {
	t.Helper()
	b := newBank()
	s := &server{
		network: newNetwork(genesis(t)), payments: b, documents: b, channels: b, quotes: b, crossings: b,
	}
	a := humachi.New(chi.NewRouter(), configuration())
	s.register(a)
	if err := publish(a.OpenAPI()); err != nil {
		t.Fatal(err)
	}
	return a.OpenAPI()
}

func TestEveryFieldIsDocumentedWithAnExample(t *testing.T) {
	for name, s := range document(t).Components.Schemas.Map() {
		if strings.HasPrefix(name, "Error") {
			continue // huma's own, which are not published
		}
		for member, m := range s.Properties {
			if m.Description == "" {
				t.Errorf("%s.%s has no description", name, member)
			}
			composed := m.Ref != "" || m.Type == huma.TypeArray || m.ContentEncoding != ""
			if len(m.Examples) == 0 && !composed {
				t.Errorf("%s.%s has no example", name, member)
			}
		}
	}
}

// TestExamplesAreValid holds the examples against the check that requests pass.
func TestExamplesAreValid(t *testing.T) {
	doc := document(t)
	for name, s := range doc.Components.Schemas.Map() {
		for member, m := range s.Properties {
			c, err := compile(doc.Components.Schemas, m)
			if err != nil || c.kind != huma.TypeString {
				continue // of answers
			}
			for _, example := range m.Examples {
				if rule, message := c.checkText(example.(string)); rule != "" {
					t.Errorf("%s.%s: %q %s", name, member, example, message)
				}
			}
		}
	}
}

func TestEveryOperationHasItsProblems(t *testing.T) {
	ops := operations(document(t))
	var ids []string
	for _, op := range ops {
		ids = append(ids, op.OperationID)
		for _, status := range []string{"400", "403", "406", "429", "500", "503"} {
			if r := op.Responses[status]; r == nil || r.Content[problemType] == nil {
				t.Errorf("%s does not document %s", op.OperationID, status)
			}
		}
		if op.Summary == "" || op.Description == "" || len(op.Tags) != 1 {
			t.Errorf("%s is not described", op.OperationID)
		}
	}
	want := []string{
		"close-channel", "fund-channel", "get-channel", "get-crossing", "get-payment", "get-receipt", "get-return",
		"health", "list-channels", "list-events", "open-channel", "release-channel", "request-quote",
		"start-crossing", "submit-message", "submit-payment",
	}
	if !slices.Equal(ids, want) {
		t.Fatalf("%q", ids)
	}
}

// TestEveryStatusIsInTheDocument looks at the constants of package payment.
func TestEveryStatusIsInTheDocument(t *testing.T) {
	files, err := filepath.Glob("../payment/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\tStatus\w+ +Status += "(\w+)"`).FindAllSubmatch(text, -1) {
			found++
			for _, schema := range []string{"Payment", "Event"} {
				enum := document(t).Components.Schemas.Map()[schema].Properties["status"].Enum
				if !slices.Contains(enum, any(string(m[1]))) {
					t.Errorf("%s.status cannot be %s", schema, m[1])
				}
			}
		}
	}
	if found < 10 {
		t.Fatalf("%d statuses were found", found)
	}
}
