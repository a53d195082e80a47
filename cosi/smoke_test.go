package cosi

import "testing"

func TestQuorumTable(t *testing.T) {
	for n, want := range []int{0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7} {
		if got := Quorum(n); got != want {
			t.Errorf("Quorum(%d) = %d, want %d", n, got, want)
		}
	}
}
