package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

func event(kind, body string) store.Event { return store.Event{Kind: kind, Body: []byte(body)} }

func wantStream(t testing.TB, r *store.Reader, stream string, after int64, want ...store.Event) error {
	t.Helper()
	got, err := r.Load(stream, after)
	for i := range want {
		want[i].Sequence = after + int64(i) + 1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stream %s (-want +got):\n%s", stream, diff)
	}
	last, lastErr := r.Last(stream)
	if n := len(want); n > 0 && last != want[n-1].Sequence || after == 0 && n == 0 && last != 0 {
		t.Errorf("stream %s ends at %d", stream, last)
	}
	return errors.Join(err, lastErr)
}

func TestStreams(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		a, b, c := event("opened", "1"), event("moved", ""), event("closed", "\x00\xff")
		update(t, s, func(tx *store.Tx) error {
			if err := tx.Append("pay/1", 0, a, b); err != nil {
				return err
			}
			return wantStream(t, &tx.Reader, "pay/1", 0, a, b) // its own writes
		})
		update(t, s, func(tx *store.Tx) error {
			for _, expected := range []int64{0, 1, 3, -1} {
				wantError(t, tx.Append("pay/1", expected, c, c), store.ErrConflict)
			}
			wantError(t, tx.Append("pay/2", 1, c), store.ErrConflict)
			return tx.Append("pay/1", 2, c) // a conflict is not final
		})
		view(t, s, func(r *store.Reader) error {
			return errors.Join(wantStream(t, r, "pay/1", 0, a, b, c), wantStream(t, r, "pay/1", 2, c),
				wantStream(t, r, "pay/1", 3), wantStream(t, r, "pay/2", 0))
		})
	})
}

// TestOneWriterWinsEachSequence: of callers that saw the same head, one appends.
func TestOneWriterWinsEachSequence(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		const rounds, callers = 5, 16
		for round := range int64(rounds) {
			var wg sync.WaitGroup
			var won, conflicts atomic.Int64
			for i := range callers {
				wg.Go(func() {
					err := s.Update(t.Context(), func(tx *store.Tx) error {
						return tx.Append("s", round, event("k", fmt.Sprint(i)))
					})
					switch {
					case err == nil:
						won.Add(1)
					case errors.Is(err, store.ErrConflict):
						conflicts.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 || conflicts.Load() != callers-1 {
				t.Errorf("round %d: %d won, %d conflicts", round, won.Load(), conflicts.Load())
			}
		}
	})
}

func TestListOfStreams(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		all := []string{"B/1", "a", "a/", "a/1", "a/10", "a/2", "a/B", "a/_", "a/a", "a/~", "a0", "b/1", "~"}
		update(t, s, func(tx *store.Tx) error {
			for _, stream := range all {
				if err := tx.Append(stream, 0, event("k", "1"), event("k", "2")); err != nil {
					return err
				}
			}
			return nil
		})
		for _, tt := range []struct {
			name, prefix, after string
			limit               int
			want                []string
		}{
			{"all, in the order of their bytes", "", "", 100, all},
			{"those with the prefix", "a/", "", 100, all[2:10]},
			{"the next page", "a/", "a/10", 2, all[5:7]},
			{"an end before the prefix", "a/", "B", 2, all[2:4]},
			{"an end behind the prefix", "a/", "b", 2, nil},
			{"none", "c", "", 100, nil},
			{"no limit is no page", "", "", 0, nil},
			{"a limit below nothing", "", "", -1, nil},
		} {
			t.Run(tt.name, func(t *testing.T) {
				view(t, s, func(r *store.Reader) error {
					got, err := r.Streams(tt.prefix, tt.after, tt.limit)
					if !slices.Equal(got, tt.want) {
						t.Errorf("got %q, want %q", got, tt.want)
					}
					return err
				})
			})
		}
	})
}

func TestNamesArePrintableASCII(t *testing.T) {
	s := storetest.Open(t, "sqlite:"+t.TempDir()+"/store.db")
	uses := map[string]func(tx *store.Tx, name string) error{
		"Append": func(tx *store.Tx, name string) error { return tx.Append(name, 0, event("k", "")) },
		"kind":   func(tx *store.Tx, name string) error { return tx.Append("s", 0, event(name, "")) },
		"Load": func(tx *store.Tx, name string) error {
			_, err := tx.Load(name, 0)
			return err
		},
		"Last": func(tx *store.Tx, name string) error {
			_, err := tx.Last(name)
			return err
		},
		"Streams": func(tx *store.Tx, name string) error {
			if name == "" || len(name) > 255 {
				return store.ErrValue // "" is any prefix, and a long one matches nothing
			}
			_, err := tx.Streams(name, name, 1)
			return err
		},
		"Put": func(tx *store.Tx, name string) error { return tx.Put(name, nil) },
		"Get": func(tx *store.Tx, name string) error {
			_, err := tx.Get(name)
			return err
		},
		"Enqueue": func(tx *store.Tx, name string) error { return tx.Enqueue(name, nil, nil) },
		"Pending": func(tx *store.Tx, name string) error {
			_, err := tx.Pending(name, 1)
			return err
		},
		"Receive": func(tx *store.Tx, name string) error {
			_, err := tx.Receive(name, nil)
			return err
		},
		"Offset": func(tx *store.Tx, name string) error {
			_, err := tx.Offset(name, 0)
			return err
		},
		"SetOffset": func(tx *store.Tx, name string) error { return tx.SetOffset(name, 0, 0) },
	}
	for use, call := range uses {
		for _, tt := range []struct {
			name string
			ok   bool
		}{
			{"a", true},
			{"payment/8a562c67-ca16-48ba-b074-65581be6f001", true},
			{strings.Repeat("x", 255), true},
			{strings.Repeat("x", 256), false},
			{"", false},
			{"a b", false},
			{"a\n", false},
			{"a\x00", false},
			{"a\x7f", false},
			{"é", false},
		} {
			t.Run(fmt.Sprintf("%s %.10q", use, tt.name), func(t *testing.T) {
				err := s.Update(t.Context(), func(tx *store.Tx) error {
					return errors.Join(call(tx, tt.name), errNo) // nothing stays
				})
				if errors.Is(err, store.ErrValue) == tt.ok {
					t.Error(err)
				}
			})
		}
	}
}

func TestRecords(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		wantRecord(t, s, "clock", "")
		update(t, s, put("clock", "\x00\x01"))
		update(t, s, put("clock", "\x00\x02"))
		wantRecord(t, s, "clock", "\x00\x02")
		update(t, s, func(tx *store.Tx) error { return tx.Put("empty", nil) })
		view(t, s, func(r *store.Reader) error {
			value, err := r.Get("empty")
			if value == nil || len(value) != 0 {
				t.Errorf("an empty record reads as %#v", value)
			}
			return err
		})
	})
}

// A counter gives no number twice: what is in its record and is none is not taken for zero.
func TestCount(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		for want := uint64(1); want < 4; want++ {
			update(t, s, func(tx *store.Tx) error {
				n, err := tx.Count("starts")
				if n != want {
					t.Errorf("%d, want %d", n, want)
				}
				return err
			})
		}
		for _, damaged := range []string{"", "\x00", "\x00\x00\x00\x00\x00\x00\x00\x00\x01"} {
			update(t, s, put("starts", damaged))
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Count("starts")
				return err
			})
			if !errors.Is(err, store.ErrMisuse) {
				t.Errorf("%x: %v", damaged, err)
			}
		}
	})
}
