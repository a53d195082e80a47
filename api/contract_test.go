package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
)

// TestStrictJSON covers what a lenient reader takes.
func TestStrictJSON(t *testing.T) {
	change := func(old, by string) string {
		if !strings.Contains(instruction, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		return strings.Replace(instruction, old, by, 1)
	}
	tests := []struct {
		name, body    string
		code          cypherlink.Code
		pointer, rule string
		reason        string
	}{
		{"a name twice", change(`"purpose"`, `"remittance"`), CodeJSON, "", "", ""},
		{"a name twice, once escaped", change(`"purpose"`, `"remittanc\u0065"`), CodeJSON, "", "", ""},
		{
			"a name twice in what is unknown",
			change(`"GDDS"`, `"GDDS","x":{"a":1,"a":2}`), CodeJSON, "", "", "",
		},
		{
			"an unknown name",
			change(`"purpose"`, `"purposes"`), CodeInvalid, "/purposes", "additionalProperties", "",
		},
		{
			"another case",
			change(`"amount"`, `"Amount"`),
			CodeInvalid, "/destination/Amount", "additionalProperties", "AM12",
		},
		{"data behind", instruction + "{}", CodeJSON, "", "", ""},
		{"garbage behind", instruction + "x", CodeJSON, "", "", ""},
		{"a comma too many", change(`"2000.00"`, `"2000.00",`), CodeJSON, "", "", ""},
		{"cut off", instruction[:100], CodeJSON, "", "", ""},
		{"nothing", "", CodeJSON, "", "", ""},
		{"nothing but blanks", "  \n", CodeJSON, "", "", ""},
		{"a byte order mark", "\ufeff" + instruction, CodeJSON, "", "", ""},
		{"a comment", instruction + "// hello", CodeJSON, "", "", ""},
		{"single quotes", strings.ReplaceAll(instruction, `"`, `'`), CodeJSON, "", "", ""},
		{"invalid UTF-8", change("Alice", "Al\xffce"), CodeJSON, "", "", ""},
		{"a lone surrogate", change("Alice", `Al\ud800ce`), CodeJSON, "", "", ""},
		{"a raw control character", change("Alice", "Al\x01ice"), CodeJSON, "", "", ""},
		{"nested deeply where nothing is known", change(`"GDDS"`, `"GDDS","x":`+strings.Repeat("[", 9)+
			strings.Repeat("]", 9)), CodeJSON, "", "", ""},
		{"nested without end", strings.Repeat(`{"debtor":`, 5000), CodeJSON, "", "", ""},
		{"an array", "[" + instruction + "]", CodeInvalid, "", "type", ""},
		{"a text", `"hello"`, CodeInvalid, "", "type", ""},
		{"null", "null", CodeInvalid, "", "type", ""},
		{"null for a member", change(`"GDDS"`, "null"), CodeInvalid, "/purpose", "type", "FF07"},
		{
			"a number for money",
			change(`"2000.00"`, "2000.00"), CodeInvalid, "/destination/amount", "type", "AM12",
		},
		{
			"a number in a text's place",
			change(`"INV-2026-0042"`, "42"), CodeInvalid, "/end_to_end_id", "type", "FF08",
		},
		{
			"an escaped control character",
			change("Alice", `Al\u0000ice`), CodeInvalid, "/debtor/name", "text_invalid", "BE08",
		},
		{
			"an invisible character",
			change("Alice", `Al\u200bice`), CodeInvalid, "/debtor/name", "text_invalid", "BE08",
		},
		{"a blank at the end", change("Bonn", "Bonn "), CodeInvalid, "/debtor/town", "text_invalid", "BE08"},
		{
			"a slash in a name's pointer",
			change(`"purpose"`, `"a/b~c"`), CodeInvalid, "/a~1b~0c", "additionalProperties", "",
		},
	}
	d := newDirect(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := d.do(submit("k", tt.body)).problem(t)
			if p.Code != tt.code || p.ISOReason != tt.reason {
				t.Fatalf("%+v", p)
			}
			if tt.code == CodeInvalid && (p.Status != 422 || len(p.Violations) == 0 ||
				p.Violations[0].Pointer != tt.pointer || p.Violations[0].Rule != tt.rule) {
				t.Fatalf("%+v", p)
			}
			if tt.code == CodeJSON && p.Status != 400 {
				t.Fatalf("%+v", p)
			}
			if len(d.bank.seen) != 0 {
				t.Fatal("the port took it")
			}
		})
	}
}

func TestEachFieldOfAnInstruction(t *testing.T) {
	long := strings.Repeat("x", 141)
	tests := []struct {
		name, pointer string
		set           any // nil: the member is left out
		rule, reason  string
	}{
		{"no end-to-end id", "/end_to_end_id", nil, "required", "FF08"},
		{"an empty end-to-end id", "/end_to_end_id", "", "text_invalid", "FF08"},
		{"a long end-to-end id", "/end_to_end_id", long, "maxLength", "FF08"},
		{"a UETR of version 1", "/uetr", "eb6305c9-1f7f-19de-aed0-16487c27b42d", "uetr_invalid", "FF01"},
		{"a UETR in capitals", "/uetr", strings.ToUpper(uetr), "uetr_invalid", "FF01"},
		{"a long purpose", "/purpose", long, "maxLength", "FF07"},
		{"a long remittance", "/remittance", long, "maxLength", "RR07"},
		{"no debtor", "/debtor", nil, "required", ""},
		{"a debtor without a name", "/debtor/name", nil, "required", "BE08"},
		{"a debtor with a long name", "/debtor/name", long, "maxLength", "BE08"},
		{"a debtor without an account", "/debtor/iban", nil, "oneOf", "AC02"},
		{"a debtor with two accounts", "/debtor/account", "1", "oneOf", "AC02"},
		{"an IBAN with wrong check digits", "/debtor/iban", "DE88370400440532013000", "iban_invalid", "AC02"},
		{"an IBAN with blanks", "/debtor/iban", "DE89 3704 0044 0532 0130 00", "iban_invalid", "AC02"},
		{"a debtor in no country", "/debtor/country", "Germany", "maxLength", "BE10"},
		{"a country in small letters", "/debtor/country", "de", "country_invalid", "BE10"},
		{"a debtor's wrong LEI", "/debtor/lei", "529900T8BM49AURSDO56", "lei_invalid", "BE15"},
		{"a paying bank with no country", "/debtor/agent", "CYPAQQFFXXX", "bic_invalid", "RC03"},
		{"no creditor", "/creditor", nil, "required", ""},
		{"a creditor without a name", "/creditor/name", nil, "required", "BE22"},
		{"a creditor without an account", "/creditor/account", nil, "oneOf", "AC03"},
		{"a long account", "/creditor/account", long, "maxLength", "AC03"},
		{"an account that is empty", "/creditor/account", "", "text_invalid", "AC03"},
		{"a payee's bank of 10 characters", "/creditor/agent", "CYPBCNBJXX", "bic_invalid", "RC04"},
		{"no destination", "/destination", nil, "required", ""},
		{"no asset", "/destination/asset", nil, "required", "AM11"},
		{"an asset in small letters", "/destination/asset", "dc/ep", "asset_invalid", "AM11"},
		{"no amount", "/destination/amount", nil, "required", "AM12"},
		{"a negative amount", "/destination/amount", "-1.00", "amount_invalid", "AM12"},
		{"an exponent", "/destination/amount", "1e3", "amount_invalid", "AM12"},
		{"a comma", "/destination/amount", "2,000.00", "amount_invalid", "AM12"},
		{"a leading zero", "/destination/amount", "02000", "amount_invalid", "AM12"},
		{"a bare point", "/destination/amount", "2000.", "amount_invalid", "AM12"},
		{"a sign", "/destination/amount", "+2000", "amount_invalid", "AM12"},
		{"digits that are not ASCII", "/destination/amount", "２０００", "amount_invalid", "AM12"},
		{"infinity", "/destination/amount", "Infinity", "amount_invalid", "AM12"},
		{"an amount of 20 digits", "/destination/amount", strings.Repeat("9", 20), "amount_invalid", "AM12"},
	}
	d := newDirect(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := d.do(submit("k", with(t, instruction, tt.pointer, tt.set))).problem(t)
			want := tt.pointer
			if tt.rule == "oneOf" {
				want = want[:strings.LastIndex(want, "/")]
			}
			if p.Code != CodeInvalid || p.ISOReason != tt.reason || len(p.Violations) != 1 ||
				p.Violations[0].Pointer != want || p.Violations[0].Rule != tt.rule {
				t.Fatalf("%+v", p)
			}
			if tt.reason != "" && !iso20022.KnownReason(tt.reason) {
				t.Fatalf("%s is not in the external code set", tt.reason)
			}
		})
	}
	for _, tt := range []struct{ name, pointer string }{
		{"no UETR", "/uetr"},
		{"no purpose", "/purpose"},
		{"no remittance", "/remittance"},
		{"no country", "/debtor/country"},
		{"no town", "/debtor/town"},
	} {
		t.Run(tt.name+" is allowed", func(t *testing.T) {
			clear(d.bank.seen)
			a := d.do(submit("k", with(t, instruction, tt.pointer, nil)))
			if a.StatusCode != http.StatusAccepted {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
		})
	}
}

// with is a JSON object with the member at pointer set, or without it if value is nil.
func with(tb testing.TB, object, pointer string, value any) string {
	tb.Helper()
	var root map[string]any
	if err := json.Unmarshal([]byte(object), &root); err != nil {
		tb.Fatal(err)
	}
	path := strings.Split(pointer, "/")[1:]
	at := root
	for _, name := range path[:len(path)-1] {
		at = at[name].(map[string]any)
	}
	if last := path[len(path)-1]; value == nil {
		delete(at, last)
	} else {
		at[last] = value
	}
	b, err := json.Marshal(root)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func TestEachFieldOfAQuoteRequest(t *testing.T) {
	d := newDirect(t)
	for _, tt := range []struct {
		name, pointer string
		set           any
		rule          string
	}{
		{"no source", "/source", nil, "required"},
		{"no source asset", "/source/asset", nil, "required"},
		{"an amount of the source", "/source/amount", "1", "additionalProperties"},
		{"no destination", "/destination", nil, "required"},
		{"no amount", "/destination/amount", nil, "required"},
		{"a number", "/destination/amount", 2000, "type"},
		{"a bank that is none", "/debtor_agent", "BANK", "bic_invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := with(t, quoteRequest, tt.pointer, tt.set)
			p := d.do(ask("k", body)).problem(t)
			if p.Code != CodeInvalid || p.Violations[0].Pointer != tt.pointer ||
				p.Violations[0].Rule != tt.rule {
				t.Fatalf("%+v", p)
			}
		})
	}
}

func TestViolationsAreBoundedAndInOrder(t *testing.T) {
	d := newDirect(t)
	p := d.do(submit("k", `{"destination":{"amount":1,"asset":"dc"},"debtor":{"b":1,"a":2}}`)).problem(t)
	var got []string
	for _, v := range p.Violations {
		got = append(got, v.Rule+" "+v.Pointer)
	}
	want := []string{
		"type /destination/amount", "asset_invalid /destination/asset",
		"additionalProperties /debtor/b", "additionalProperties /debtor/a", "required /debtor/name",
		"oneOf /debtor", "required /end_to_end_id", "required /creditor",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q", got)
	}
	var many strings.Builder
	many.WriteString(`{"` + strings.Repeat("n", 60000) + `":1`)
	for i := range 40 {
		many.WriteString(`,"x` + strings.Repeat("y", i) + `":{}`)
	}
	many.WriteString("}")
	a := d.do(submit("k", many.String()))
	at := a.problem(t).Violations
	if len(at) != maxFaults || at[0].Pointer != "" || len(a.body) > 4096 {
		t.Fatalf("%d violations in %d bytes, the first at %q", len(at), len(a.body), at[0].Pointer)
	}
}

func TestParameters(t *testing.T) {
	d := newDirect(t)
	d.bank.events = manyEvents(3)
	events := "/v1/payments/" + uetr + "/events"
	for _, tt := range []struct{ name, path, pointer, rule string }{
		{"an unknown parameter", "/healthz?verbose=1", "query", "additionalProperties"},
		{
			"an unknown parameter beside a known one",
			events + "?limit=1&after=2", "query", "additionalProperties",
		},
		{"a parameter in another case", events + "?Limit=1", "query", "additionalProperties"},
		{"a limit of 0", events + "?limit=0", "query/limit", "minimum"},
		{"a limit of 201", events + "?limit=201", "query/limit", "maximum"},
		{"a limit that is no integer", events + "?limit=1.0", "query/limit", "type"},
		{"a limit with a sign", events + "?limit=%2B1", "query/limit", "type"},
		{"a limit with a leading zero", events + "?limit=01", "query/limit", "type"},
		{"an empty limit", events + "?limit=", "query/limit", "type"},
		{"two limits", events + "?limit=1&limit=2", "query/limit", "maxItems"},
		{"a cursor that is none", events + "?cursor=hello", "query/cursor", "cursor_invalid"},
		{"a cursor in another spelling", events + "?cursor=AAAAAAAAADJ", "query/cursor", "cursor_invalid"},
		{"an empty cursor", events + "?cursor=", "query/cursor", "cursor_invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := d.do(get(tt.path)).problem(t)
			if p.Code != CodeParameter || p.Status != 400 || len(p.Violations) != 1 ||
				p.Violations[0].Pointer != tt.pointer || p.Violations[0].Rule != tt.rule {
				t.Fatalf("%+v", p)
			}
		})
	}
	t.Run("a query that is none", func(t *testing.T) {
		if p := d.do(get(events + "?limit=1;cursor=2")).problem(t); p.Code != CodeParameter {
			t.Fatalf("%+v", p)
		}
	})
}

func TestBodiesByTypeAndEncoding(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		code   cypherlink.Code
	}{
		{"JSON", []string{"Content-Type", "application/json"}, ""},
		{"JSON in UTF-8", []string{"Content-Type", `application/json; charset="UTF-8"`}, ""},
		{"no type", nil, CodeMediaType},
		{"a form", []string{"Content-Type", "application/x-www-form-urlencoded"}, CodeMediaType},
		{"plain text", []string{"Content-Type", "text/plain"}, CodeMediaType},
		{"another JSON", []string{"Content-Type", "application/merge-patch+json"}, CodeMediaType},
		{
			"another character set",
			[]string{"Content-Type", "application/json; charset=latin1"},
			CodeMediaType,
		},
		{"an unknown parameter", []string{"Content-Type", "application/json; profile=x"}, CodeMediaType},
		{"two types", []string{"Content-Type", jsonType, "Content-Type", xmlType}, CodeMediaType},
		{"a malformed type", []string{"Content-Type", "application/json; charset"}, CodeMediaType},
		{"gzip", []string{"Content-Type", jsonType, "Content-Encoding", "gzip"}, CodeMediaType},
		{"identity, said", []string{"Content-Type", jsonType, "Content-Encoding", "identity"}, CodeMediaType},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDirect(t)
			a := d.do(call{http.MethodPost, "/v1/payments", instruction, append(tt.header, keyName, "k")})
			if tt.code == "" {
				if a.StatusCode != http.StatusAccepted {
					t.Fatalf("%d %s", a.StatusCode, a.body)
				}
				return
			}
			if p := a.problem(t); p.Code != tt.code || p.Status != 415 {
				t.Fatalf("%+v", p)
			}
		})
	}
}

func TestBodiesBySize(t *testing.T) {
	d := newDirect(t)
	padded := instruction + strings.Repeat(" ", maxJSON-len(instruction))
	if a := d.do(submit("k", padded)); a.StatusCode != http.StatusAccepted {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for _, chunked := range []bool{false, true} {
		r := submit("k", padded+" ").request(t, "https://bank.example")
		r.TLS = verified()
		if chunked {
			r.ContentLength = -1
		}
		if p := d.serve(r).problem(t); p.Code != CodeBodyTooLarge || p.Status != 413 {
			t.Fatalf("chunked %t: %+v", chunked, p)
		}
	}
}

func TestRouter(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, method, path string
		status             int
		code               cypherlink.Code
		allow              string
	}{
		{"no such path", "GET", "/", 404, CodeNotFound, ""},
		{"another version", "GET", "/v2/payments", 404, CodeNotFound, ""},
		{"a slash at the end", "POST", "/v1/payments/", 404, CodeNotFound, ""},
		{"a method that is not there", "DELETE", "/v1/payments/" + uetr, 405, CodeMethod, "GET"},
		{"a GET of what only takes a POST", "GET", "/v1/payments", 405, CodeMethod, "POST"},
		{"a POST of what can only be read", "POST", "/healthz", 405, CodeMethod, "GET"},
		{"a method that nobody knows", "BREW", "/v1/payments", 405, CodeMethod, "POST"},
		{"a method that nobody knows on no path", "BREW", "/pot", 404, CodeNotFound, ""},
		{"TRACE", "TRACE", "/v1/payments", 405, CodeMethod, "POST"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := w.do(call{tt.method, tt.path, "", nil})
			p, allow := a.problem(t), a.Header.Get("Allow")
			if p.Code != tt.code || p.Status != tt.status || allow != tt.allow {
				t.Fatalf("%+v, allowed %q", p, allow)
			}
		})
	}
}

func TestCompileRefusesWhatItDoesNotEnforce(t *testing.T) {
	length, zero, no := 36, 0.0, any(false)
	uetrFormat, _ := formatOf("uetr")
	text := func(change func(*huma.Schema)) *huma.Schema {
		s := &huma.Schema{
			Type: huma.TypeString, Format: "uetr", Pattern: uetrFormat.pattern, MaxLength: &length,
		}
		change(s)
		return s
	}
	r := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	if _, err := compile(r, text(func(*huma.Schema) {})); err != nil {
		t.Fatal(err)
	}
	object := func(change func(*huma.Schema)) *huma.Schema {
		s := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: no}
		change(s)
		return s
	}
	for _, tt := range []struct {
		name   string
		schema *huma.Schema
	}{
		{"a text without a format", text(func(s *huma.Schema) { s.Format = "" })},
		{"a format of answers", text(func(s *huma.Schema) {
			f, _ := formatOf("page")
			s.Format, s.Pattern, s.MaxLength = "page", f.pattern, &f.length
		})},
		{"another pattern", text(func(s *huma.Schema) { s.Pattern = ".*" })},
		{"no length", text(func(s *huma.Schema) { s.MaxLength = nil })},
		{"another length", text(func(s *huma.Schema) { n := 7; s.MaxLength = &n })},
		{"a least length", text(func(s *huma.Schema) { s.MinLength = &length })},
		{"an enumeration", text(func(s *huma.Schema) { s.Enum = []any{"a"} })},
		{"a text that may be null", text(func(s *huma.Schema) { s.Nullable = true })},
		{"a number", &huma.Schema{Type: huma.TypeNumber}},
		{"an array", &huma.Schema{Type: huma.TypeArray}},
		{"any value", &huma.Schema{}},
		{"an integer without bounds", &huma.Schema{Type: huma.TypeInteger, Minimum: &zero}},
		{"an object that is open", object(func(s *huma.Schema) { s.AdditionalProperties = nil })},
		{"a number in an object", object(func(s *huma.Schema) {
			n := &huma.Schema{Type: huma.TypeInteger, Minimum: &zero, Maximum: &zero}
			s.Properties = map[string]*huma.Schema{"n": n}
		})},
		{"an alternative of properties", object(func(s *huma.Schema) {
			s.OneOf = []*huma.Schema{{Properties: map[string]*huma.Schema{}}}
		})},
		{"anyOf", object(func(s *huma.Schema) { s.AnyOf = []*huma.Schema{{}} })},
		{"a bound on members", object(func(s *huma.Schema) { s.MaxProperties = &length })},
		{"a reference to nothing", &huma.Schema{Ref: "#/components/schemas/Nothing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := compile(r, tt.schema); err == nil {
				t.Fatal("it was compiled")
			}
		})
	}
}
