package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

// model is the store as a few maps: the reference that both engines are compared with.
type model struct {
	streams map[string][]store.Event
	inbox   map[string]bool
	offsets map[int]int64
	records map[string]string
	outbox  []store.Message
}

func (m *model) clone() *model {
	return &model{
		streams: maps.Clone(m.streams), inbox: maps.Clone(m.inbox), offsets: maps.Clone(m.offsets),
		records: maps.Clone(m.records), outbox: slices.Clone(m.outbox),
	}
}

// step draws one operation, does it to both, and compares what they answer.
func (m *model) step(t *rapid.T, tx *store.Tx, prefix string) error {
	name := prefix + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	body := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "body")
	body = append([]byte{}, body...)
	ops := []string{"append", "receive", "offset", "put", "enqueue", "done"}
	switch rapid.SampledFrom(ops).Draw(t, "op") {
	case "append":
		head := int64(len(m.streams[name]))
		expected := head + rapid.SampledFrom([]int64{0, 0, 0, -1, 1}).Draw(t, "shift")
		err := tx.Append(name, expected, store.Event{Kind: "k", Body: body})
		if expected != head {
			return want(err, store.ErrConflict)
		}
		m.streams[name] = append(slices.Clip(m.streams[name]),
			store.Event{Sequence: head + 1, Kind: "k", Body: body})
		return err
	case "receive":
		fresh, err := tx.Receive(name, body)
		key := name + string(body)
		if fresh == m.inbox[key] {
			return fmt.Errorf("receive %q: fresh is %v", key, fresh)
		}
		m.inbox[key] = true
		return err
	case "offset":
		partition := rapid.IntRange(0, 1).Draw(t, "partition")
		next := rapid.Int64Range(0, 4).Draw(t, "next")
		err := tx.SetOffset(prefix+"topic", partition, next)
		if next < m.offsets[partition] {
			return want(err, store.ErrConflict)
		}
		m.offsets[partition] = next
		return err
	case "put":
		m.records[name] = string(body)
		return tx.Put(name, body)
	case "enqueue":
		m.outbox = append(slices.Clip(m.outbox), store.Message{Key: body, Payload: body})
		return tx.Enqueue(prefix+"queue", body, body)
	default: // done
		pending, err := tx.Pending(prefix+"queue", 100)
		if err != nil || len(pending) == 0 {
			return err
		}
		i := rapid.IntRange(0, len(pending)-1).Draw(t, "which")
		m.outbox = slices.Delete(slices.Clone(m.outbox), i, i+1)
		return tx.Done(pending[i].ID)
	}
}

func want(err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("got %w, want %w", err, want)
	}
	return nil
}

// check compares everything that can be read.
func (m *model) check(r *store.Reader, prefix string) error {
	streams, err := r.Streams(prefix, "", 100)
	if err != nil {
		return err
	}
	got := &model{
		streams: map[string][]store.Event{}, inbox: m.inbox,
		offsets: map[int]int64{}, records: map[string]string{},
	}
	for _, stream := range streams {
		if got.streams[stream], err = r.Load(stream, 0); err != nil {
			return err
		}
	}
	for partition := range m.offsets {
		if got.offsets[partition], err = r.Offset(prefix+"topic", partition); err != nil {
			return err
		}
	}
	for name := range m.records {
		value, err := r.Get(name)
		if err != nil {
			return err
		}
		got.records[name] = string(value)
	}
	if got.outbox, err = r.Pending(prefix+"queue", 100); err != nil {
		return err
	}
	for i := range got.outbox {
		got.outbox[i].ID = 0
	}
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(model{}), cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("store differs from model (-model +store):\n%s", diff)
	}
	return nil
}

// TestStoreIsItsModel: any history of updates, some of which fail, and of restarts leaves
// both engines in the model's state.
func TestStoreIsItsModel(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		history := 0
		rapid.Check(t, func(rt *rapid.T) {
			history++
			prefix := fmt.Sprintf("%d/", history)
			m := &model{
				streams: map[string][]store.Event{}, inbox: map[string]bool{},
				offsets: map[int]int64{}, records: map[string]string{},
			}
			for range rapid.IntRange(1, 6).Draw(rt, "updates") {
				next := m.clone()
				outcome := rapid.SampledFrom([]error{nil, nil, errNo}).Draw(rt, "outcome")
				err := s.Update(t.Context(), func(tx *store.Tx) error {
					for range rapid.IntRange(1, 4).Draw(rt, "steps") {
						if err := next.step(rt, tx, prefix); err != nil {
							return err
						}
					}
					return errors.Join(next.check(&tx.Reader, prefix), outcome)
				})
				if !errors.Is(err, outcome) || outcome == nil && err != nil {
					rt.Fatal(err)
				}
				if outcome == nil {
					m = next
				}
			}
			if history%20 == 0 {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				if s, err = store.Open(t.Context(), dsn); err != nil {
					rt.Fatal(err)
				}
			}
			err := s.View(t.Context(), func(r *store.Reader) error { return m.check(r, prefix) })
			if err != nil {
				rt.Fatal(err)
			}
		})
	})
}
