package payment

import (
	"slices"
	"testing"
)

// The second job: terms, verdict, hold, lane update, bound, anchored, both banks' books, and what each
// customer's bank is told on the way.
func TestChannelPayment(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		uetr := w.pays(a, 1, w.a, w.b, "2000.00")
		back := w.pays(b, 2, w.b, w.a, "500.00")
		for _, c := range []*Connect{a, b} {
			w.until(c, uetr, StatusCompleted)
			w.until(c, back, StatusCompleted)
		}
		entries, err := a.Events(t.Context(), uetr)
		if err != nil {
			t.Fatal(err)
		}
		var way []Status
		for _, e := range entries {
			if e.From != e.To {
				way = append(way, e.To)
			}
		}
		want := []Status{
			StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusApproved, StatusReserved,
			StatusSigned1, StatusSigned2, StatusSettled, StatusPosted, StatusCompleted,
		}
		if !slices.Equal(way, want) {
			t.Errorf("the way was %v, want %v", way, want)
		}
		for who, want := range map[*player]int64{w.a: -1500_00, w.b: 1500_00} {
			if got := w.books[who.id()].balance; int64(got) != want {
				t.Errorf("the books of %s moved by %d, want %d", who.Name, got, want)
			}
		}
	})
}
