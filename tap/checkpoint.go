package tap

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/go-json-experiment/json"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
)

// ErrCheckpoint means that bytes are not a checkpoint.
var ErrCheckpoint = errors.New("tap: wrong checkpoint")

// Checkpoint is how much of the feed a reader has checked: its first Size events. From it the
// root of every longer feed can be computed as records come, so a feed that does not begin with
// exactly these events is found out (RFC 6962 consistency).
type Checkpoint struct {
	Size uint64 `json:"size"`
	// Peaks are the roots of the perfect trees that make up the log, one for each bit that is
	// set in Size, the largest first.
	Peaks []cypherlink.Hash `json:"peaks"`
}

// Root is the RFC 6962 root of the log.
func (c Checkpoint) Root() cypherlink.Hash {
	if len(c.Peaks) == 0 {
		return merkle.Root(nil)
	}
	last := len(c.Peaks) - 1
	root := c.Peaks[last]
	for i := last - 1; i >= 0; i-- {
		root = merkle.Root([]merkle.Hash{c.Peaks[i], root})
	}
	return root
}

// add is the log with one more event. The shorter one stays as it was.
func (c Checkpoint) add(event []byte) Checkpoint {
	peak, left := cypherlink.Hash(merkle.Leaf(event)), len(c.Peaks)
	for rest := c.Size; rest&1 == 1; rest >>= 1 {
		left--
		peak = merkle.Root([]merkle.Hash{c.Peaks[left], peak})
	}
	peaks := make([]cypherlink.Hash, left, left+1)
	copy(peaks, c.Peaks)
	return Checkpoint{Size: c.Size + 1, Peaks: append(peaks, peak)}
}

// Encode is the JSON form, with a line feed at its end.
func (c Checkpoint) Encode() ([]byte, error) {
	b, err := json.Marshal(c)
	return append(b, '\n'), err
}

// DecodeCheckpoint reads what Encode wrote; otherwise ErrCheckpoint.
func DecodeCheckpoint(b []byte) (Checkpoint, error) {
	var c Checkpoint
	if err := decode(b, &c); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if len(c.Peaks) != bits.OnesCount64(c.Size) {
		return Checkpoint{}, fmt.Errorf("%d peaks of %d events: %w", len(c.Peaks), c.Size, ErrCheckpoint)
	}
	return c, nil
}
