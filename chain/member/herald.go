package member

import (
	"fmt"
	"sync"
)

// jobsInQueue is how many final blocks may be on their way to the disk. Beyond, the loop waits.
const jobsInQueue = 64

// job is what is told when something has become durable: the herald waits, then does.
type job struct {
	wait func() error // nil: for nothing new
	do   func()
}

// herald announces, in order, what the loop has made final (I4). It ends when jobs is closed.
func (m *Member) herald() error {
	var failed error
	for j := range m.jobs {
		if j.wait != nil && failed == nil {
			if err := j.wait(); err != nil {
				failed = fmt.Errorf("final block: %w", err)
			}
		}
		if failed == nil {
			j.do()
		}
	}
	return failed
}

// news tells whoever waits for a block that it is final.
type news struct {
	mu      sync.Mutex
	head    uint64
	changed chan struct{}
}

// publish makes a block known that is final and durable.
func (n *news) publish(height uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.head = height
	close(n.changed)
	n.changed = make(chan struct{})
}

// latest is the newest announced height, and what is closed when there is a newer one.
func (n *news) latest() (uint64, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, n.changed
}
