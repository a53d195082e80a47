//go:build integration

package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

// postgres runs test with the DSN of a fresh PostgreSQL database.
func postgres(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Helper()
	storetest.Engines(t, func(t *testing.T, dsn string) {
		if strings.HasPrefix(dsn, "postgres:") {
			test(t, dsn)
		}
	})
}

// edited is the DSN after change.
func edited(t testing.TB, dsn string, change func(u *url.URL, settings url.Values)) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	settings := u.Query()
	change(u, settings)
	u.RawQuery = settings.Encode()
	return u.String()
}

func with(t testing.TB, dsn, setting, value string) string {
	t.Helper()
	return edited(t, dsn, func(_ *url.URL, settings url.Values) { settings.Set(setting, value) })
}

func TestPostgresStatementTimeout(t *testing.T) {
	postgres(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, with(t, dsn, "statement_timeout", "500ms"))
		errs := together(t, s, put("a", "1"), func(tx *store.Tx) error {
			_, err := tx.Exec("SELECT pg_sleep(30)")
			return err
		}, put("b", "2"))
		wantError(t, errs[1], store.ErrTimeout)
		if errs[0] != nil || errs[2] != nil {
			t.Errorf("the others: %v", errs)
		}
		err := s.View(t.Context(), func(r *store.Reader) error {
			return r.QueryRow("SELECT pg_sleep(30)").Scan(new(string))
		})
		wantError(t, err, store.ErrTimeout)
		wantRecord(t, s, "b", "2")
	})
}

func TestPostgresViewEndsWithItsContext(t *testing.T) {
	postgres(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		ctx, cancel := context.WithTimeout(t.Context(), 50e6)
		defer cancel()
		err := s.View(ctx, func(r *store.Reader) error {
			return r.QueryRow("SELECT pg_sleep(30)").Scan(new(string))
		})
		wantError(t, err, context.DeadlineExceeded)
		wantRecord(t, s, "a", "")
	})
}

// TestPostgresRepeatsWhatTheServerRolledBack: the server says "serialization failure".
func TestPostgresRepeatsWhatTheServerRolledBack(t *testing.T) {
	collide := func(tx *store.Tx) error {
		_, err := tx.Exec("DO $$ BEGIN RAISE EXCEPTION 'collision' USING ERRCODE = '40001'; END $$")
		return err
	}
	postgres(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		runs := 0
		errs := together(t, s, put("a", "1"), func(tx *store.Tx) error {
			if runs++; runs <= 2 {
				return collide(tx)
			}
			return tx.Put("b", []byte("2"))
		}, collide, put("c", "3"))
		if errs[0] != nil || errs[1] != nil || errs[2] == nil || errs[3] != nil {
			t.Errorf("outcomes %v", errs)
		}
		wantRecord(t, s, "a", "1")
		wantRecord(t, s, "b", "2")
		wantRecord(t, s, "c", "3")
		if err := s.Update(t.Context(), collide); err == nil {
			t.Error("a collision alone succeeded")
		}
	})
}

func TestPostgresLostSession(t *testing.T) {
	terminate := func(t testing.TB, dsn string) {
		db, err := sql.Open("postgres", dsn)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		inside bool
	}{
		{"between updates", false},
		{"inside an update", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			postgres(t, func(t *testing.T, dsn string) {
				s := storetest.Open(t, dsn)
				update(t, s, put("a", "1"))
				if !tt.inside {
					terminate(t, dsn)
				}
				err := s.Update(t.Context(), func(tx *store.Tx) error {
					if tt.inside {
						terminate(t, dsn)
					}
					return tx.Put("a", []byte("2"))
				})
				wantError(t, err, store.ErrBroken)
				// with the session the ownership is gone, so nothing else may work either
				next := storetest.Open(t, dsn)
				update(t, next, put("b", "1"))
				wantError(t, s.Update(t.Context(), put("a", "3")), store.ErrBroken)
				wantError(t, s.View(t.Context(), func(*store.Reader) error { return nil }), store.ErrBroken)
				wantRecord(t, next, "a", "1")
			})
		})
	}
}

// TestPostgresConnectionLostDuringCommit: the proxy takes the COMMIT away, or its answer.
func TestPostgresConnectionLostDuringCommit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		forward bool
		want    string
	}{
		{"the server never saw the commit", false, "1"},
		{"the server carried out the commit", true, "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			postgres(t, func(t *testing.T, dsn string) {
				p := startProxy(t, dsn)
				s := storetest.Open(t, edited(t, dsn, func(u *url.URL, _ url.Values) { u.Host = p.addr }))
				update(t, s, put("a", "1"))
				p.forward.Store(tt.forward)
				for i, err := range together(t, s, func(tx *store.Tx) error {
					p.armed.Store(true)
					return tx.Put("a", []byte("2"))
				}, put("b", "2")) {
					if !errors.Is(err, store.ErrBroken) {
						t.Errorf("update %d: %v", i, err)
					}
				}
				p.armed.Store(false)
				wantError(t, s.Update(t.Context(), put("a", "3")), store.ErrBroken)
				next := storetest.Open(t, dsn)
				wantRecord(t, next, "a", tt.want)
			})
		})
	}
}

// proxy stands between a store and its server and, when armed, cuts the connection at the
// first COMMIT of a simple query: before it, or after the server's answer.
type proxy struct {
	addr           string
	armed, forward atomic.Bool
}

func startProxy(t *testing.T, dsn string) *proxy {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: listener.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(client, u.Host) })
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return p
}

func (p *proxy) serve(client net.Conn, addr string) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	var answers sync.WaitGroup
	answers.Go(func() {
		defer client.Close()
		_, _ = io.Copy(client, server)
	})
	defer answers.Wait()
	defer server.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if p.armed.Load() && bytes.Contains(buf[:n], []byte("COMMIT\x00")) {
			_ = client.Close() // so that no answer gets through
			if p.forward.Load() {
				_, _ = server.Write(buf[:n])
				_ = server.(*net.TCPConn).CloseWrite() // the server carries out what it has
				answers.Wait()
			}
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestPostgresThatBreaksAPromiseIsRefused(t *testing.T) {
	postgres(t, func(t *testing.T, dsn string) {
		admin, err := sql.Open("postgres", os.Getenv("CYPHERLINK_TEST_POSTGRES"))
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		name := strings.TrimPrefix(edited(t, dsn, func(u *url.URL, v url.Values) {
			*u = url.URL{Path: u.Path}
			clear(v)
		}), "/") + "icu"
		for _, query := range []string{
			"DROP DATABASE IF EXISTS " + name,
			"CREATE DATABASE " + name + " TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'",
		} {
			if _, err := admin.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		defer func() {
			_, err := admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
			if err != nil {
				t.Error(err)
			}
		}()
		for _, tt := range []struct{ name, dsn, want string }{
			{
				"text ordered as in a dictionary",
				edited(t, dsn, func(u *url.URL, _ url.Values) { u.Path = name }), "collation",
			},
			{"commits that do not wait", with(t, dsn, "synchronous_commit", "off"), "synchronous_commit"},
			{
				"no TLS where none is allowed",
				edited(t, dsn, func(_ *url.URL, v url.Values) { v.Del("sslmode") }), "SSL",
			},
		} {
			t.Run(tt.name, func(t *testing.T) {
				s, err := store.Open(t.Context(), tt.dsn)
				if err == nil {
					t.Fatal("opened", s.Close())
				}
				if !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v does not name %s", err, tt.want)
				}
			})
		}
	})
}

// TestPostgresMigrationIsNotTimed: a statement timeout that no migration could keep.
func TestPostgresMigrationIsNotTimed(t *testing.T) {
	postgres(t, func(t *testing.T, dsn string) {
		if err := store.MigratePostgres(t.Context(), with(t, dsn, "statement_timeout", "1ms")); err != nil {
			t.Error(err)
		}
	})
}
