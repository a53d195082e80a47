package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// reachableCodes are the values of all constants of type cypherlink.Code in this package and in
// those of the module below it, with where they stand.
func reachableCodes(t *testing.T) map[cypherlink.Code]string {
	t.Helper()
	const form = "{{if not .Standard}}{{range .GoFiles}}{{$.Dir}}/{{.}}\n{{end}}{{end}}"
	list, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", form, ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[cypherlink.Code]string{}
	for path := range strings.FieldsSeq(string(list)) {
		if !strings.HasPrefix(path, here) {
			continue // of another module
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			rule := ok && file.Name.Name == "channels" && isRule(spec.Type)
			if !ok || !rule && !isCode(spec.Type) {
				return true
			}
			for _, value := range spec.Values {
				if literal, ok := value.(*ast.BasicLit); ok {
					text, err := strconv.Unquote(literal.Value)
					if err != nil {
						t.Fatal(err)
					}
					code := cypherlink.Code(text)
					if rule {
						code = channels.Rule(text).Code()
					}
					codes[code] = path
				}
			}
			return true
		})
	}
	return codes
}

func isCode(typ ast.Expr) bool {
	s, ok := typ.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != "Code" {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "cypherlink"
}

// isRule tells whether a constant of package channels is one of its rules, each of which has a code.
func isRule(typ ast.Expr) bool {
	x, ok := typ.(*ast.Ident)
	return ok && x.Name == "Rule"
}

func TestEveryCodeBelowIsInTheTable(t *testing.T) {
	codes := reachableCodes(t)
	if len(codes) < 40 || codes["iban_invalid"] == "" || codes[CodeInternal] == "" ||
		codes["channel_t0"] == "" || codes["channel_h4"] == "" {
		t.Fatalf("%d codes were found", len(codes))
	}
	for code, path := range codes {
		if _, ok := classify(code); !ok {
			t.Errorf("%s has the code %q, which code.go does not map to a status", path, code)
		}
	}
}

func TestClasses(t *testing.T) {
	form := regexp.MustCompile("^[a-z][a-z0-9_]*$")
	for code := range reachableCodes(t) {
		c, _ := classify(code)
		if c.status < 400 || http.StatusText(c.status) == "" || c.title == "" ||
			strings.HasSuffix(c.title, ".") {
			t.Errorf("%s: %+v", code, c)
		}
		if !form.MatchString(string(code)) {
			t.Errorf("%q is no URN's last part", code)
		}
		again := c.status == 409 || c.status == 429 || c.status == 503
		if (retryAfter(code) > 0) != again {
			t.Errorf("%s, status %d: again after %d s", code, c.status, retryAfter(code))
		}
	}
	for _, code := range []cypherlink.Code{"no_such_code", "channel_x1", "channel_", "channel_T0", "t0"} {
		if _, ok := classify(code); ok {
			t.Errorf("%q, a code that nobody has, is in the table", code)
		}
	}
}

// TestEveryProblemOverHTTP answers with each code of the table.
func TestEveryProblemOverHTTP(t *testing.T) {
	d := newDirect(t)
	for code := range reachableCodes(t) {
		c, ok := classify(code)
		if !ok {
			continue // TestEveryCodeBelowIsInTheTable says so
		}
		d.bank.err = &cypherlink.Error{Code: code, Reason: "NARR", Message: "what is wrong", Pointer: "/x"}
		a := d.do(get("/v1/payments/" + uetr))
		p := a.problem(t)
		want := code
		if c.status == http.StatusInternalServerError {
			want = CodeInternal
		}
		if p.Code != want || p.Status != c.status || p.Title != c.title {
			t.Errorf("%s: %+v", code, p)
		}
		if retry := a.Header.Get("Retry-After"); (retry != "") != (retryAfter(code) > 0) {
			t.Errorf("%s: again after %q s", code, retry)
		}
		if want != CodeInternal && (p.Detail != "what is wrong" || p.ISOReason != "NARR" ||
			p.Violations[0].Pointer != "/x") {
			t.Errorf("%s: %+v", code, p)
		}
	}
}
