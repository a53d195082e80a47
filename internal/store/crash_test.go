package store_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

const (
	childDSN     = "CYPHERLINK_TEST_CHILD" // the database that a child is to write
	childWriters = 8
)

// child writes until it is killed and prints "writer sequence" for each acknowledged update.
// One update is two events, a message, an inbox mark and a record: all or nothing.
func child(dsn string) int {
	ctx := context.Background()
	s, err := store.Open(ctx, dsn)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for writer := range childWriters {
		wg.Go(func() {
			for {
				var sequence int64
				err := s.Update(ctx, func(tx *store.Tx) (err error) {
					sequence, err = childUpdate(tx, writer)
					return err
				})
				out.Lock()
				if err != nil {
					fmt.Println("error:", err)
				}
				fmt.Println(writer, sequence)
				out.Unlock()
			}
		})
	}
	wg.Wait()
	return 0
}

func childNames(writer int) (stream, queue, record string) {
	return fmt.Sprint("stream/", writer), fmt.Sprint("queue/", writer), fmt.Sprint("record/", writer)
}

func childUpdate(tx *store.Tx, writer int) (int64, error) {
	stream, queue, record := childNames(writer)
	last, err := tx.Get(record)
	if err != nil {
		return 0, err
	}
	var sequence int64
	if last != nil {
		sequence = int64(binary.BigEndian.Uint64(last))
	}
	next := binary.BigEndian.AppendUint64(nil, uint64(sequence+2))
	fresh, err := tx.Receive(stream, next)
	if !fresh {
		return 0, errors.Join(err, errors.New("seen before"))
	}
	return sequence + 2, errors.Join(
		tx.Append(stream, sequence, store.Event{Kind: "a", Body: next}),
		tx.Enqueue(queue, next, bytes.Repeat(next, 50)),
		tx.Append(stream, sequence+1, store.Event{Kind: "b", Body: next}),
		tx.Put(record, next))
}

// TestKilledProcessLosesNothing kills a writing process again and again: whatever it
// acknowledged is there afterwards, and every update is there as a whole or not at all.
func TestKilledProcessLosesNothing(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	storetest.Engines(t, func(t *testing.T, dsn string) {
		for range rounds {
			checkAfterKill(t, dsn, killed(t, dsn, 1+rand.IntN(400)))
		}
	})
}

// killed runs a child, kills it after that many acknowledgements, and returns the last
// acknowledged sequence of each writer.
func killed(t *testing.T, dsn string, acknowledgements int) [childWriters]int64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDSN+"="+dsn)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last [childWriters]int64
	lines := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		var writer int
		var sequence int64
		if _, err := fmt.Sscan(scanner.Text(), &writer, &sequence); err != nil {
			t.Error(scanner.Text())
			break
		}
		last[writer] = sequence
		if lines++; lines == acknowledgements {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if lines < acknowledgements {
		t.Errorf("killed after %d acknowledgements, want %d", lines, acknowledgements)
	}
	return last
}

func checkAfterKill(t *testing.T, dsn string, acknowledged [childWriters]int64) {
	t.Helper()
	s, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	view(t, s, func(r *store.Reader) error {
		for writer, last := range acknowledged {
			stream, queue, record := childNames(writer)
			events, err := r.Load(stream, 0)
			if err != nil {
				return err
			}
			messages, err := r.Pending(queue, 10_000)
			if err != nil {
				return err
			}
			value, err := r.Get(record)
			if err != nil {
				return err
			}
			n := int64(len(events))
			if n < last {
				t.Errorf("writer %d: %d events, %d were acknowledged", writer, n, last)
			}
			if n%2 != 0 || int64(len(messages)) != n/2 {
				t.Errorf("writer %d: %d events and %d messages", writer, n, len(messages))
			}
			if n > 0 && int64(binary.BigEndian.Uint64(value)) != n {
				t.Errorf("writer %d: %d events, record %x", writer, n, value)
			}
			for i, e := range events {
				end := int64(binary.BigEndian.Uint64(e.Body)) // the last of its update
				if e.Sequence != int64(i)+1 || e.Sequence+e.Sequence%2 != end {
					t.Errorf("writer %d: event %d is %v", writer, i, e)
				}
			}
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
