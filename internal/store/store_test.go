package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

func TestConcurrentUpdatesFailAlone(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		refusal := errors.New("refused")
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				var want error
				if i%5 == 0 {
					want = refusal
				}
				err := s.Update(t.Context(), func(tx *store.Tx) error {
					err := tx.Append(fmt.Sprintf("s/%02d", i), 0,
						store.Event{Kind: "a"}, store.Event{Kind: "b"})
					return errors.Join(err, want)
				})
				if !errors.Is(err, want) {
					t.Errorf("update %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		err := s.View(t.Context(), func(r *store.Reader) error {
			streams, err := r.Streams("s/", "", 100)
			if len(streams) != 40 {
				t.Errorf("%d streams, want 40", len(streams))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
