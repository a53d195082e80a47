package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

// pending returns what waits in the queue "q".
func pending(t testing.TB, s *store.Store, limit int) []store.Message {
	t.Helper()
	var messages []store.Message
	view(t, s, func(r *store.Reader) (err error) {
		messages, err = r.Pending("q", limit)
		return err
	})
	return messages
}

func TestOutbox(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		message := func(key, payload string) store.Message {
			return store.Message{Key: []byte(key), Payload: []byte(payload)}
		}
		enqueue := func(queue string, m store.Message) func(tx *store.Tx) error {
			return func(tx *store.Tx) error { return tx.Enqueue(queue, m.Key, m.Payload) }
		}
		a, b, c := message("k", "1"), message("", "2"), message("k", "")
		for _, err := range together(t, s,
			enqueue("q", a), enqueue("other", a), enqueue("q", b), enqueue("q", c)) {
			if err != nil {
				t.Error(err)
			}
		}
		got := pending(t, s, 10)
		ignoreID := cmpopts.IgnoreFields(store.Message{}, "ID")
		if diff := cmp.Diff([]store.Message{a, b, c}, got, ignoreID); diff != "" {
			t.Fatalf("pending (-want +got):\n%s", diff)
		}
		if got[0].ID <= 0 || got[1].ID <= got[0].ID || got[2].ID <= got[1].ID {
			t.Errorf("ids do not grow: %v", got)
		}
		if first := pending(t, s, 1); len(first) != 1 || first[0].ID != got[0].ID {
			t.Errorf("the first of %v is %v", got, first)
		}
		for range 2 { // Done may be repeated
			update(t, s, func(tx *store.Tx) error {
				return errors.Join(tx.Done(got[0].ID), tx.Done(got[2].ID))
			})
		}
		if left := pending(t, s, 10); len(left) != 1 || left[0].ID != got[1].ID {
			t.Errorf("left %v", left)
		}
	})
}

func TestOutboxNumbersAreNeverUsedAgain(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		var last int64
		for range 3 {
			s, err := store.Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				update(t, s, func(tx *store.Tx) error { return tx.Enqueue("q", nil, nil) })
				messages := pending(t, s, 10)
				if len(messages) != 1 || messages[0].ID <= last {
					t.Fatalf("after %d came %v", last, messages)
				}
				last = messages[0].ID
				update(t, s, func(tx *store.Tx) error { return tx.Done(last) })
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRelayWakesAfterTheCommit(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		wake := s.Enqueued("q")
		awake := func() bool {
			select {
			case <-wake:
				return true
			default:
				return false
			}
		}
		errs := together(t, s, func(tx *store.Tx) error {
			return errors.Join(tx.Enqueue("q", nil, nil), errNo)
		}, func(*store.Tx) error { return nil })
		wantError(t, errs[0], errNo)
		wantError(t, errs[1], nil)
		if awake() {
			t.Error("woken by what was undone")
		}
		update(t, s, func(tx *store.Tx) error { return tx.Enqueue("other", nil, nil) })
		if awake() {
			t.Error("woken by another queue")
		}
		update(t, s, func(tx *store.Tx) error {
			err := errors.Join(tx.Enqueue("q", nil, nil), tx.Enqueue("q", nil, nil))
			if awake() {
				t.Error("woken before the commit")
			}
			return err
		})
		if !awake() || awake() {
			t.Error("want one wake-up for one commit")
		}
		if n := len(pending(t, s, 10)); n != 2 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestInboxTakesAMessageOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		receive := func(sender, message string, outcome error) (fresh bool) {
			err := s.Update(t.Context(), func(tx *store.Tx) (err error) {
				fresh, err = tx.Receive(sender, []byte(message))
				return errors.Join(err, outcome)
			})
			wantError(t, err, outcome)
			return fresh
		}
		for _, tt := range []struct {
			name, sender, message string
			outcome               error
			want                  bool
		}{
			{"the first time", "alice", "m\x00\xff", nil, true},
			{"the second time", "alice", "m\x00\xff", nil, false},
			{"from somebody else", "bob", "m\x00\xff", nil, true},
			{"another message", "alice", "m", nil, true},
			{"the empty message", "alice", "", nil, true},
			{"in an update that fails", "alice", "n", errNo, true},
			{"again, since that update failed", "alice", "n", nil, true},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if got := receive(tt.sender, tt.message, tt.outcome); got != tt.want {
					t.Errorf("fresh is %v", got)
				}
			})
		}
	})
}

func TestOffsetsOnlyGrow(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		want := func(topic string, partition int, next int64) {
			t.Helper()
			view(t, s, func(r *store.Reader) error {
				got, err := r.Offset(topic, partition)
				if got != next {
					t.Errorf("offset of %s/%d is %d, want %d", topic, partition, got, next)
				}
				return err
			})
		}
		set := func(next int64) error {
			return s.Update(t.Context(), func(tx *store.Tx) error { return tx.SetOffset("t", 1, next) })
		}
		want("t", 1, 0)
		for _, next := range []int64{5, 5, 7} {
			if err := set(next); err != nil {
				t.Error(err)
			}
		}
		wantError(t, set(6), store.ErrConflict)
		wantError(t, set(-1), store.ErrConstraint)
		want("t", 1, 7)
		want("t", 0, 0)
		want("u", 1, 0)
	})
}
