package state

// Store keeps entries in the order of their keys. Memory and Pebble are the two. It may be
// read by many while one writes; a read sees every write that came back before it.
type Store interface {
	// Get returns a copy of the value under the key; ok tells whether there is one.
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan calls yield with the entries from <= key < to, ascending, until it returns false.
	// What yield gets is its own only during the call.
	Scan(from, to []byte, yield func(key, value []byte) bool) error
	// Write makes all of the writes durable before it returns, or none of them.
	Write(writes []Write) error
}

// Write puts a value under a key, or removes the key where Value is nil.
type Write struct{ Key, Value []byte }
