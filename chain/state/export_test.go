package state

import (
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// On returns the options with another file system under them.
func (o PebbleOptions) On(fs vfs.FS) PebbleOptions {
	o.fs = fs
	return o
}

// OptionsFor are options whose Exit fails the test.
func OptionsFor(tb testing.TB) PebbleOptions {
	return PebbleOptions{
		Log:  slog.New(slog.DiscardHandler),
		Exit: func() { tb.Error("the store gave up") },
	}
}

// Rosters is how many rosters of joint actions a state keeps.
func Rosters(s *State) int { return len(s.rosters.of) }
