//go:build integration

package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	_ "github.com/lib/pq" // the driver
)

func runPostgres[T runner[T]](t T, test func(T, string)) {
	t.Helper()
	t.Run("postgres", func(t T) { test(t, freshPostgres(t)) })
}

// freshPostgres creates a database on the server of CYPHERLINK_TEST_POSTGRES and drops it
// when the test ends.
func freshPostgres(tb testing.TB) string {
	tb.Helper()
	server := os.Getenv("CYPHERLINK_TEST_POSTGRES")
	if server == "" {
		tb.Fatal("CYPHERLINK_TEST_POSTGRES is not set: start a server with deploy/test/postgres.sh")
	}
	dsn, err := url.Parse(server)
	if err != nil {
		tb.Fatalf("CYPHERLINK_TEST_POSTGRES: %v", err)
	}
	admin, err := sql.Open("postgres", server)
	if err != nil {
		tb.Fatal(err)
	}
	name := "t" + strings.ToLower(rand.Text())
	_, err = admin.ExecContext(tb.Context(), fmt.Sprintf(
		"CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", name))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_, err := admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
		if err != nil {
			tb.Error(err)
		}
		if err := admin.Close(); err != nil {
			tb.Error(err)
		}
	})
	dsn.Path = "/" + name
	return dsn.String()
}
