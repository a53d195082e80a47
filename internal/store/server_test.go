package store_test

import (
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
)

func TestTLSIsVerifiedUnlessTheOperatorSaysOtherwise(t *testing.T) {
	for _, tt := range []struct{ name, dsn, want string }{
		{"nothing said", "postgres://u@h/x", "verify-full"},
		{"no TLS", "postgres://u@h/x?sslmode=disable", "disable"},
		{"any certificate", "postgres://u@h/x?sslmode=require", "require"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, target, err := store.Connecting(tt.dsn)
			if got != tt.want || err != nil {
				t.Errorf("sslmode %s, want %s (%v)", got, tt.want, err)
			}
			if target != "primary" {
				t.Errorf("it takes a %s server", target)
			}
		})
	}
}

func TestServerKeepsThePromises(t *testing.T) {
	for _, tt := range []struct {
		name                                string
		fsync, pages, synchronous, encoding string
		bytewise, ok                        bool
	}{
		{"a durable server", "on", "on", "on", "UTF8", true, true},
		{"a replicated server", "on", "on", "remote_apply", "UTF8", true, true},
		{"no fsync", "off", "on", "on", "UTF8", true, false},
		{"no full pages", "on", "off", "on", "UTF8", true, false},
		{"commits that do not wait", "on", "on", "off", "UTF8", true, false},
		{"another encoding", "on", "on", "on", "LATIN1", true, false},
		{"text ordered as in a dictionary", "on", "on", "on", "UTF8", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := store.CheckServing(tt.fsync, tt.pages, tt.synchronous, tt.encoding, tt.bytewise)
			if tt.ok != (err == nil) {
				t.Error(err)
			}
		})
	}
}
