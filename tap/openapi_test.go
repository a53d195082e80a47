package tap

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// errSchema means that a value is not of its schema.
var errSchema = errors.New("not of its schema")

// openAPI is the document, and a reader of as much of JSON Schema as it uses. A keyword that the
// reader does not know fails.
type openAPI struct{ root map[string]any }

func theDocument(tb testing.TB, raw []byte) *openAPI {
	tb.Helper()
	d := &openAPI{}
	if err := yaml.Unmarshal(raw, &d.root); err != nil {
		tb.Fatal(err)
	}
	return d
}

// at is what stands under a path of names.
func (d *openAPI) at(names ...string) map[string]any {
	at := d.root
	for _, name := range names {
		at, _ = at[name].(map[string]any)
	}
	return at
}

func wrong(at, format string, args ...any) error {
	return fmt.Errorf("%s %s: %w", at, fmt.Sprintf(format, args...), errSchema)
}

// holds reports where a value is not of a schema.
func (d *openAPI) holds(at string, schema map[string]any, v any) error {
	if want, ok := schema["type"].(string); ok {
		if err := typed(at, want, v); err != nil {
			return err
		}
	}
	for keyword, want := range schema {
		if err := d.keyword(at, keyword, want, schema, v); err != nil {
			return err
		}
	}
	return nil
}

func (d *openAPI) keyword(at, keyword string, want any, schema map[string]any, v any) error {
	switch keyword {
	case "description", "default", "type":
		return nil
	case "$ref":
		return d.holds(at, d.at(strings.Split(strings.TrimPrefix(want.(string), "#/"), "/")...), v)
	case "oneOf":
		fits := 0
		for _, one := range want.([]any) {
			if d.holds(at, one.(map[string]any), v) == nil {
				fits++
			}
		}
		if fits != 1 {
			return wrong(at, "is of %d alternatives", fits)
		}
		return nil
	case "enum":
		if !slices.Contains(want.([]any), v) {
			return wrong(at, "is %v", v)
		}
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		return d.object(at, keyword, want, schema, v)
	case []any:
		return d.array(at, keyword, want, v)
	case string:
		return text(at, keyword, want, v)
	case float64:
		return bounds(at, keyword, want, v)
	}
	return wrong(at, "has the keyword %s", keyword)
}

func typed(at, want string, v any) error {
	got := "?"
	switch v := v.(type) {
	case map[string]any:
		got = "object"
	case []any:
		got = "array"
	case string:
		got = "string"
	case float64:
		if got = "number"; v == math.Trunc(v) {
			got = "integer"
		}
	}
	if got != want {
		return wrong(at, "is of type %s, not %s", got, want)
	}
	return nil
}

func (d *openAPI) object(at, keyword string, want any, schema, v map[string]any) error {
	properties, _ := schema["properties"].(map[string]any)
	switch keyword {
	case "required":
		for _, name := range want.([]any) {
			if _, ok := v[name.(string)]; !ok {
				return wrong(at, "lacks %s", name)
			}
		}
	case "additionalProperties":
		for name := range v {
			if _, ok := properties[name]; !ok {
				return wrong(at, "has %s", name)
			}
		}
	case "properties":
		for name, member := range v {
			if s, ok := properties[name].(map[string]any); ok {
				if err := d.holds(at+"/"+name, s, member); err != nil {
					return err
				}
			}
		}
	default:
		return wrong(at, "has the keyword %s", keyword)
	}
	return nil
}

func (d *openAPI) array(at, keyword string, want any, v []any) error {
	switch keyword {
	case "maxItems":
		if len(v) > want.(int) {
			return wrong(at, "has %d items", len(v))
		}
	case "minItems":
		if len(v) < want.(int) {
			return wrong(at, "has %d items", len(v))
		}
	case "items":
		for i, item := range v {
			if err := d.holds(fmt.Sprint(at, "/", i), want.(map[string]any), item); err != nil {
				return err
			}
		}
	default:
		return wrong(at, "has the keyword %s", keyword)
	}
	return nil
}

func text(at, keyword string, want any, v string) error {
	ok := false
	switch keyword {
	case "pattern":
		ok = regexp.MustCompile(want.(string)).MatchString(v)
	case "maxLength":
		ok = len(v) <= want.(int)
	case "format":
		_, err := time.Parse(time.RFC3339Nano, v)
		ok = want == "date-time" && err == nil && strings.HasSuffix(v, "Z")
	case "contentEncoding":
		_, err := base64.StdEncoding.Strict().DecodeString(v)
		ok = want == "base64" && err == nil
	}
	if !ok {
		return wrong(at, "%.80q violates %s", v, keyword)
	}
	return nil
}

func bounds(at, keyword string, want any, v float64) error {
	bound := float64(want.(int))
	if keyword == "minimum" && v >= bound || keyword == "maximum" && v <= bound {
		return nil
	}
	return wrong(at, "%v violates %s", v, keyword)
}

// answers holds a reply against what the document says of that operation and status.
func (d *openAPI) answers(t *testing.T, path string, a reply) {
	t.Helper()
	responses := d.at("paths", path, "get", "responses")
	response, ok := responses[fmt.Sprint(a.StatusCode)].(map[string]any)
	if !ok {
		response, _ = responses["default"].(map[string]any)
	}
	if ref, ok := response["$ref"].(string); ok {
		response = d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	content, _ := response["content"].(map[string]any)
	media, _ := content[a.Header.Get("Content-Type")].(map[string]any)
	schema, ok := media["schema"].(map[string]any)
	if !ok {
		t.Fatalf("%s: %d as %s is not documented", path, a.StatusCode, a.Header.Get("Content-Type"))
	}
	var v any
	if schema["type"] == "string" {
		v = string(a.body)
	} else if err := decode(a.body, &v); err != nil {
		t.Fatal(err)
	}
	if err := d.holds("", schema, v); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// Real answers of every operation, and refusals of all, are what the document says, which the tap
// itself serves.
func TestTheDocumentDescribesTheAnswers(t *testing.T) {
	w := newTown(t)
	at := w.now() + 1000
	pay := w.World.Payment("one", 7, at/1000+60)
	pay.Packet = []byte("packet")
	w.commands(t, at, w.World.Prepare(pay))
	w.commands(t, at+1000, w.World.Confirm(w.World.Bob, pay))
	late := w.World.Payment("two", 7, at/1000+60)
	w.commands(t, at+2000, w.World.Prepare(late))
	w.blockAt(t, at+70_000, 0) // which returns it
	f := w.following(t, w)
	w.reach(t, f)
	fresh := serve(t, f, func(o *Options) { o.Frozen = 1 << 62 })
	d := theDocument(t, fresh.get("/openapi.yaml").body)
	asked := map[string]bool{}
	for path, routes := range map[string][]string{
		"/v1/events":          {"", "?limit=2", "?after=3", "?after=4", "?limit=0"},
		"/v1/events/{number}": {"1", "2", "3", "4", "5", "x"},
		"/v1/head":            {"", "?x=1"},
		"/v1/heads/{height}":  {"1", "4", "5"},
		"/healthz":            {""},
		"/openapi.yaml":       {""},
	} {
		asked[path] = true
		prefix, _, _ := strings.Cut(path, "{")
		for _, route := range routes {
			d.answers(t, path, fresh.get(prefix+route))
		}
		d.answers(t, path, fresh.do(fresh.client, http.MethodPost, prefix, nil))
	}
	asked["/v1/stream"] = true
	l, _ := fresh.listen(fresh.client, "/v1/stream", "")
	for range 5 {
		h, ok := l.next()
		var v any
		name := map[string]string{"record": "Record", "head": "Head"}[h.name]
		if err := decode([]byte(h.data), &v); !ok || err != nil {
			t.Fatal(err)
		}
		if err := d.holds(h.name, d.at("components", "schemas", name), v); err != nil {
			t.Error(err)
		}
	}
	l.close()
	d.answers(t, "/v1/stream", fresh.get("/v1/stream?after=x"))
	d.answers(t, "/healthz", serve(t, f, func(*Options) {}).get("/healthz")) // long frozen
	young := serve(t, &still{}, func(*Options) {})
	d.answers(t, "/v1/head", young.get("/v1/head")) // of genesis
	for path := range d.at("paths") {
		if !asked[path] {
			t.Errorf("%s is documented and was not asked for", path)
		}
		for verb := range d.at("paths", path) {
			if verb != "get" {
				t.Errorf("%s documents %s", path, verb)
			}
		}
	}
}

// The schemas refuse what is not of them: else the test above would show nothing.
func TestTheSchemasRefuse(t *testing.T) {
	_, all, _ := feed(t)
	d := theDocument(t, openapi)
	record := d.at("components", "schemas", "Record")
	for name, change := range map[string]func(map[string]any){
		"":                   func(map[string]any) {},
		"a member too many":  func(v map[string]any) { v["x"] = 1.0 },
		"a member too few":   func(v map[string]any) { delete(v, "kind") },
		"a number of 0":      func(v map[string]any) { v["number"] = 0.0 },
		"a text as number":   func(v map[string]any) { v["number"] = "1" },
		"half a number":      func(v map[string]any) { v["number"] = 1.5 },
		"a local time":       func(v map[string]any) { v["time"] = "2026-01-01T00:00:00+01:00" },
		"no base64":          func(v map[string]any) { v["event"] = "*" },
		"another kind":       func(v map[string]any) { v["kind"] = "x" },
		"a path of numbers":  func(v map[string]any) { v["path"] = []any{1.0} },
		"a short hash":       func(v map[string]any) { v["path"] = []any{"00"} },
		"fields of no kind":  func(v map[string]any) { v["fields"] = map[string]any{} },
		"a head of no proof": func(v map[string]any) { v["head"] = map[string]any{"height": 1.0} },
	} {
		var v map[string]any
		if err := decode(line(t, all[0]), &v); err != nil {
			t.Fatal(err)
		}
		change(v)
		if err := d.holds("", record, v); (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
