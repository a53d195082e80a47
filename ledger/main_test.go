package ledger_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain makes the random tests smaller under -short.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		if err := flag.Set("rapid.checks", "20"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
