package state

import (
	"slices"
	"sync"
)

// Memory is a Store that forgets everything with its process: for simulations, and the
// reference of Pebble.
type Memory struct {
	mu sync.RWMutex
	// shelves are by the first two bytes of the key, so that a scan sorts one kind alone.
	shelves map[string]map[string][]byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{shelves: map[string]map[string][]byte{}} }

func shelfOf(key string) string { return key[:min(2, len(key))] }

// Get implements Store.
func (m *Memory) Get(key []byte) (value []byte, ok bool, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, ok = m.shelves[shelfOf(string(key))][string(key)]
	return slices.Clone(value), ok, nil
}

// Scan implements Store.
func (m *Memory) Scan(from, to []byte, yield func(key, value []byte) bool) error {
	m.mu.RLock()
	var keys []string
	for name, shelf := range m.shelves {
		if name < shelfOf(string(from)) || name > string(to) {
			continue
		}
		for key := range shelf {
			if string(from) <= key && key < string(to) {
				keys = append(keys, key)
			}
		}
	}
	m.mu.RUnlock()
	slices.Sort(keys)
	for _, key := range keys {
		if value, ok, _ := m.Get([]byte(key)); ok && !yield([]byte(key), value) {
			return nil
		}
	}
	return nil
}

// Write implements Store.
func (m *Memory) Write(writes []Write) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range writes {
		key := string(w.Key)
		shelf := m.shelves[shelfOf(key)]
		if shelf == nil {
			shelf = map[string][]byte{}
			m.shelves[shelfOf(key)] = shelf
		}
		if w.Value == nil {
			delete(shelf, key)
		} else {
			shelf[key] = slices.Clone(w.Value)
		}
	}
	return nil
}
