// Package vectors finds other people's test data, which stays outside the project.
//
// Its noun is the folder ../shared beside the project's root. A clone without it leaves
// out the suites that need it, and says which; in CI (the variable CI is set) a missing
// file is a failure. Only tests import it. It refuses to copy anything into the project.
package vectors

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Path is the absolute path of a file or folder under ../shared, such as
// "vectors/merkle/inclusion.json". Without that folder the calling test is left out, or
// fails in CI.
func Path(tb testing.TB, name string) string {
	tb.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		tb.Fatal("vectors: the source path is unknown")
	}
	path := filepath.Join(filepath.Dir(here), "..", "..", "..", "shared", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatalf("test data is missing in CI: %v", err)
		}
		tb.Skipf("left out, no test data: %v", err)
	}
	return path
}

// Read returns a file under ../shared.
func Read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(Path(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// JSON decodes a file under ../shared into out.
func JSON(tb testing.TB, name string, out any) {
	tb.Helper()
	if err := json.Unmarshal(Read(tb, name), out); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
}
