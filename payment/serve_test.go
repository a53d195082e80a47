package payment

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/connector"
)

// TestWhatIsFurthestCounts: after a start the payee's machine may tell of the end of its custody
// before its log, read earlier, is told. The end is not overlooked.
func TestWhatIsFurthestCounts(t *testing.T) {
	at := time.Unix(sceneStart, 0)
	moves := func(o connector.Outcome) note { return note{inputs: []Input{Moves{Outcome: o}}} }
	for _, tt := range []struct {
		name  string
		notes []note
		want  Input
	}{
		{"the time has come", nil, Tick{}},
		{"another time to wake", []note{{wake: &at}}, nil},
		{"one after the other", []note{moves(connector.Reserved), moves(connector.Settled)}, Moves{Outcome: connector.Settled}},
		{"the end, and what was before", []note{moves(connector.Settled), moves(connector.Reserved)}, Moves{Outcome: connector.Settled}},
		{"undone, and what was before", []note{moves(connector.Undone), moves(connector.Pending)}, Moves{Outcome: connector.Undone}},
		{"reserved, and what was before", []note{moves(connector.Reserved), moves(connector.Pending), {wake: &at}}, Moves{Outcome: connector.Reserved}},
	} {
		if got, _ := newest(tt.notes, time.Time{}); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
