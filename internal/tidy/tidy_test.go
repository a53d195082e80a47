package tidy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cypherlink/cypherlink"

const (
	fileLines     = 700
	functionLines = 100
)

type pkg struct {
	ImportPath   string
	Dir          string
	Name         string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
}

// rel is the package's path in the module, "." for its root.
func (p pkg) rel() string { return relative(p.ImportPath) }

func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func inModule(path string) bool {
	return path == module || strings.HasPrefix(path, module+"/")
}

func packages(t *testing.T) []pkg {
	t.Helper()
	fields := "-json=ImportPath,Dir,Name,GoFiles,TestGoFiles,XTestGoFiles,Imports"
	cmd := exec.CommandContext(t.Context(), "go", "list", fields, module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 3 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}

func isShell(file string) bool {
	for _, s := range shells() {
		if file == s || strings.HasSuffix(s, "/") && strings.HasPrefix(file, s) {
			return true
		}
	}
	return filepath.Base(file) == "ports.go"
}

type source struct {
	path string // in the module
	file *ast.File
	set  *token.FileSet
	test bool
}

func sources(t *testing.T, p pkg) []source {
	t.Helper()
	var out []source
	read := func(names []string, test bool) {
		for _, name := range names {
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			path := name
			if p.rel() != "." {
				path = p.rel() + "/" + name
			}
			out = append(out, source{path, f, set, test})
		}
	}
	read(p.GoFiles, false)
	read(p.TestGoFiles, true)
	read(p.XTestGoFiles, true)
	return out
}

func imports(f *ast.File) []string {
	var out []string
	for _, spec := range f.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			out = append(out, path)
		}
	}
	return out
}

func TestImportsPointDown(t *testing.T) {
	rank := map[string]int{}
	for i, row := range ranks() {
		for _, name := range row {
			rank[name] = i
		}
	}
	for _, p := range packages(t) {
		for _, problem := range wrongImports(p.rel(), p.Imports, rank) {
			t.Error(problem)
		}
	}
}

func wrongImports(from string, paths []string, rank map[string]int) []string {
	mine, known := rank[from]
	if !known {
		return []string{from + " is missing from the import table"}
	}
	var out []string
	for _, path := range paths {
		if !inModule(path) {
			continue
		}
		to := relative(path)
		if theirs, ok := rank[to]; !ok || theirs >= mine {
			out = append(out, fmt.Sprintf("%s imports %s, which is not below it", from, to))
		}
		if why, bad := banned()[from][to]; bad {
			out = append(out, fmt.Sprintf("%s imports %s: %s", from, to, why))
		}
		if only, ok := onlyFrom()[to]; ok && !strings.HasPrefix(from, only) {
			out = append(out, fmt.Sprintf("%s imports %s, which only %s may", from, to, only))
		}
	}
	return out
}

func TestImportTableRefuses(t *testing.T) {
	rank := map[string]int{"low": 0, "terms": 1, "cosi/sign": 0, "validator/rules": 0}
	tests := []struct {
		name, from, to string
		want           int
	}{
		{"an import that points up", "low", "terms", 1},
		{"a package that the table lacks", "new", "low", 1},
		{"an import of a package that the table lacks", "terms", "new", 1},
		{"a ban beside the ranks", "terms", "cosi/sign", 1},
		{"rules outside the command", "terms", "validator/rules", 1},
		{"nothing where the import points down", "terms", "low", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := wrongImports(tt.from, []string{module + "/" + tt.to}, rank); len(got) != tt.want {
				t.Fatalf("%q", got)
			}
		})
	}
}

// TestClosures: a binary that must be unable to do something links nothing that can.
func TestClosures(t *testing.T) {
	for binary, bad := range absent() {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"/"+binary)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, module+"/"+binary) || len(deps) < 10 {
			t.Fatalf("%s has %d packages", binary, len(deps))
		}
		for _, problem := range linked(deps, bad) {
			t.Errorf("%s %s", binary, problem)
		}
	}
}

// linked are those of the packages that must not be there.
func linked(deps []string, bad map[string]string) []string {
	var out []string
	for _, dep := range deps {
		for name, why := range bad {
			if dep == strings.TrimSuffix(name, "/") || strings.HasSuffix(name, "/") && strings.HasPrefix(dep, name) {
				out = append(out, fmt.Sprintf("links %s: %s", dep, why))
			}
		}
	}
	return out
}

// TestClosuresRefuse: every package that must be absent is found where it is linked. The gateway's
// own binary links nearly all of them.
func TestClosuresRefuse(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"/cmd/cypherlink").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	for name, why := range absent()["cmd/cypherlink-tap"] {
		found := len(linked(deps, map[string]string{name: why})) > 0
		if !found && name != "github.com/google/cel-go/" { // CEL's other name
			t.Errorf("%s is not linked by the gateway: is it called otherwise?", name)
		}
	}
}

func TestShellPackagesAreImportedFromShells(t *testing.T) {
	for _, p := range packages(t) {
		for _, src := range sources(t, p) {
			if src.test || isShell(src.path) {
				continue
			}
			for _, path := range imports(src.file) {
				if inModule(path) && slices.Contains(shellOnly(), relative(path)) {
					t.Errorf("%s is no shell file and imports %s", src.path, relative(path))
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		ok := false
		for _, src := range sources(t, p) {
			ok = ok || !src.test && src.file.Doc != nil
		}
		if !ok {
			t.Errorf("%s has no package comment", p.rel())
		}
	}
}

// impure are the imports that a core may not have, with everything below them.
func impure() []string {
	return []string{
		"context", "crypto/rand", "database/sql", "log", "math/rand", "net", "os", "sync", "syscall",
	}
}

func TestCoresArePure(t *testing.T) {
	for _, p := range packages(t) {
		for _, src := range sources(t, p) {
			if src.test || isShell(src.path) {
				continue
			}
			for _, problem := range impurities(src.file) {
				t.Errorf("%s %s", src.path, problem)
			}
		}
	}
}

func impurities(f *ast.File) []string {
	var out []string
	for _, path := range imports(f) {
		if path == "log/slog" {
			continue // a secret tells a logger to hide it; what else it names is found below
		}
		for _, bad := range impure() {
			if path == bad || strings.HasPrefix(path, bad+"/") {
				out = append(out, "imports "+path)
			}
		}
	}
	clock := []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, "starts a goroutine")
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			switch {
			case !ok:
			case x.Name == "time" && slices.Contains(clock, n.Sel.Name):
				out = append(out, "calls time."+n.Sel.Name)
			case x.Name == "slog" && !strings.HasSuffix(n.Sel.Name, "Value"):
				out = append(out, "logs by slog."+n.Sel.Name)
			}
		}
		return true
	})
	return out
}

func TestPurityRefuses(t *testing.T) {
	for _, tt := range []struct{ name, code string }{
		{"a clock", `package p; import "time"; var t = time.Now()`},
		{"a goroutine", `package p; func f() { go f() }`},
		{"a socket", `package p; import _ "net/http"`},
		{"a lock", `package p; import _ "sync/atomic"`},
		{"a logger", `package p; import "log/slog"; var l *slog.Logger`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parser.ParseFile(token.NewFileSet(), "p.go", tt.code, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(impurities(f)) != 1 {
				t.Fatalf("%q", impurities(f))
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for _, p := range packages(t) {
		for _, src := range sources(t, p) {
			if n := src.set.File(src.file.Pos()).LineCount(); n > fileLines {
				t.Errorf("%s has %d lines, at most %d", src.path, n, fileLines)
			}
			for _, d := range src.file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || src.test {
					continue
				}
				first, last := src.set.Position(f.Pos()).Line, src.set.Position(f.End()).Line
				if n := last - first + 1; n > functionLines {
					t.Errorf("%s: %s has %d lines, at most %d", src.path, f.Name.Name, n, functionLines)
				}
			}
		}
	}
}
