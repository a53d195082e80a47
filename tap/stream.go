package tap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/cypherlink/cypherlink"
)

// errSlow means that a stream's reader is gone, or does not read.
var errSlow = errors.New("tap: the reader does not take what is sent")

// stream answers with server-sent events until the reader leaves: records, whose ids are their
// numbers, and heads, without ids, whenever the head moves and every Heartbeat. What is sent is
// read from the store when its turn comes: nothing waits in memory for a reader.
func (s *server) stream(ctx context.Context, x *exchange) error {
	after, err := parseResume(x.request.URL.RawQuery, x.request.Header.Values("Last-Event-Id"))
	if err != nil {
		return err
	}
	leave := s.streams.enter(x.client)
	if leave == nil {
		return &cypherlink.Error{Code: CodeStreams, Message: "End another stream first."}
	}
	defer leave()
	out := sender{x, http.NewResponseController(x), s.o.Patience}
	if err := out.begin(); err != nil {
		return err
	}
	err = s.tell(ctx, out, after)
	if ctx.Err() != nil {
		return nil // the reader has left
	}
	return err
}

// tell sends what comes after a record until ctx or the process ends, or the reader is too slow.
func (s *server) tell(ctx context.Context, out sender, after uint64) error {
	beat := time.NewTicker(s.o.Heartbeat)
	defer beat.Stop()
	for {
		changed := s.o.Feed.Changed()
		for size := s.o.Feed.Head().Roots.FeedSize; after < size; after++ {
			select {
			case <-s.ending:
				return nil
			default:
			}
			r, err := s.record(ctx, after+1)
			if err == nil {
				err = out.event("record", strconv.FormatUint(after+1, 10), r)
			}
			if err != nil {
				return err
			}
		}
		h, err := s.newest(ctx)
		if err == nil {
			err = out.event("head", "", h)
		}
		if err == nil {
			err = out.flush()
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-beat.C:
		case <-s.ending:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sender writes server-sent events. Each may take so long and no longer.
type sender struct {
	x        *exchange
	control  *http.ResponseController
	patience time.Duration
}

func (o sender) begin() error {
	o.x.Header().Set("Content-Type", "text/event-stream")
	if err := o.control.SetWriteDeadline(time.Now().Add(o.patience)); err != nil {
		return err
	}
	o.x.WriteHeader(http.StatusOK)
	if _, err := o.x.Write([]byte("retry: 1000\n\n")); err != nil {
		return fmt.Errorf("%w: %w", errSlow, err)
	}
	return o.flush()
}

// event writes one event. An empty id leaves the reader's last one as it is.
func (o sender) event(name, id string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	head := "event: " + name + "\ndata: "
	if id != "" {
		head = "id: " + id + "\n" + head
	}
	if err := o.control.SetWriteDeadline(time.Now().Add(o.patience)); err != nil {
		return err
	}
	for _, b := range [][]byte{[]byte(head), data, []byte("\n\n")} {
		if _, err := o.x.Write(b); err != nil {
			return fmt.Errorf("%w: %w", errSlow, err)
		}
	}
	return nil
}

// flush sends what is written. It has what is left of the last event's time.
func (o sender) flush() error {
	if err := o.control.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errSlow, err)
	}
	return nil
}
