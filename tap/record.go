package tap

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
)

// ErrRecord means that bytes are not the JSON of a record, a head or a page.
var ErrRecord = errors.New("tap: malformed record")

const (
	// MaxPage is the most records in a page.
	MaxPage = 1000
	// pageSize is the length at which a page is full, in bytes: it ends with the record that
	// reaches it.
	pageSize = 1 << 20
	// MaxLine bounds a line of a saved feed, such as a page that its last record made long: an
	// event has 48 KiB, and a proof at worst 1,024 headers.
	MaxLine = 4 << 20
)

// Record is one event of the feed.
type Record struct {
	// Number is the event's place in the feed, from 1. A reader resumes after it.
	Number uint64 `json:"number"`
	// Height and Time are those of the block in which it happened; Time is in UTC, to the
	// millisecond.
	Height uint64    `json:"height"`
	Time   time.Time `json:"time"`
	// Kind and Fields say what Event tells.
	Kind   string         `json:"kind"`
	Fields jsontext.Value `json:"fields"`
	// Event is the canonical form of the event, whose RFC 6962 leaf is in the feed.
	Event []byte `json:"event"`
	// Path is the audit path (RFC 6962 section 2.1.1) from that leaf, at Number-1, to Head's
	// FeedRoot.
	Path []cypherlink.Hash `json:"path"`
	Head Head              `json:"head"`
}

// Head is a final block, and the feed under it.
type Head struct {
	Height uint64    `json:"height"`
	Time   time.Time `json:"time"`
	// FeedSize is the number of events since genesis, FeedRoot the RFC 6962 root over them.
	FeedSize uint64          `json:"feed_size"`
	FeedRoot cypherlink.Hash `json:"feed_root"`
	// Finality is the canonical form of the proof that the block is final
	// (chain.FinalityProof); empty at height 0, which genesis itself defines.
	Finality []byte `json:"finality,omitempty"`
}

// Page is records in a row.
type Page struct {
	Records []Record `json:"records"`
	// Next is the path and query of the next page, if there is more.
	Next string `json:"next,omitempty"`
}

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// headOf is the head that a header is, by a proof that it is final.
func headOf(h chain.Header, finality []byte) Head {
	return Head{
		Height: h.Height, Time: timeOf(h.TimeMS),
		FeedSize: h.Roots.FeedSize, FeedRoot: h.Roots.Feed, Finality: finality,
	}
}

// newHead is the head that a proof shows.
func newHead(p chain.FinalityProof) Head { return headOf(p.Headers[0], p.Encode()) }

// newRecord is the record of an entry.
func newRecord(e follow.Entry) (*Record, error) {
	kind, fields := render(e.Event)
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("record %d: %w", e.Index+1, err)
	}
	r := &Record{
		Number: e.Index + 1, Height: e.Event.Height, Time: timeOf(e.Event.TimeMS),
		Kind: kind, Fields: raw, Event: e.Event.Encode(), Path: make([]cypherlink.Hash, len(e.Path)),
		Head: newHead(e.Finality),
	}
	for i, h := range e.Path {
		r.Path[i] = h
	}
	return r, nil
}

// weight is about how many bytes of JSON the record makes.
func (r *Record) weight() int {
	return (len(r.Event)+len(r.Head.Finality))*4/3 + len(r.Fields) + 67*len(r.Path) + 512
}

// Age is how old the block is at a moment: how long the feed has been silent, for the newest one.
func (h *Head) Age(now time.Time) time.Duration { return now.Sub(h.Time) }

// decode reads one JSON value strictly; otherwise ErrRecord.
func decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return nil
}
