package member

import "errors"

// BreakSafety makes every further write of the safety record fail.
func (m *Member) BreakSafety() error {
	if m.disk == nil {
		return errors.New("an observer has no record")
	}
	return m.disk.Close()
}
