package bft

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
)

func paced() (pacemaker, time.Time) {
	p := newPacemaker(chain.KeyBlock{IdleMS: 1000, MaxBaseMS: 5000})
	return p, time.UnixMilli(1_000_000)
}

func TestBaseIsClamped(t *testing.T) {
	for _, tt := range []struct {
		name                      string
		smoothed, roundTrip, base time.Duration
	}{
		{"four times the view time", 200 * time.Millisecond, 0, 800 * time.Millisecond},
		{"never below 200 ms", 0, 0, 200 * time.Millisecond},
		{"nor below twice the round trip and 200 ms", 0, 150 * time.Millisecond, 500 * time.Millisecond},
		{"never above the key block's bound", 2 * time.Second, 0, 5 * time.Second},
		{"not even for a long round trip", 0, 4 * time.Second, 5 * time.Second},
	} {
		p, _ := paced()
		p.smoothed, p.roundTrip = tt.smoothed, tt.roundTrip
		if p.base() != tt.base {
			t.Errorf("%s: %v", tt.name, p.base())
		}
	}
	if p, _ := paced(); p.base() != 5*time.Second {
		t.Error("before anything is measured the base is its bound")
	}
}

func TestDeadline(t *testing.T) {
	p, now := paced()
	p.smoothed = 100 * time.Millisecond // base 400 ms
	for _, tt := range []struct {
		name   string
		busy   bool
		failed int
		wait   time.Duration
	}{
		{"busy", true, 0, 400 * time.Millisecond},
		{"idle", false, 0, 1400 * time.Millisecond},
		{"busy after a failed term", true, 1, 600 * time.Millisecond},
		{"idle after two", false, 2, 3150 * time.Millisecond},
		{"after many, eight times", true, 100, 3200 * time.Millisecond},
	} {
		p.failed = tt.failed
		p.enter(now, tt.busy)
		if got := p.deadline.Sub(now); got != tt.wait {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestWorkShortensTheWait(t *testing.T) {
	p, now := paced()
	p.smoothed = 100 * time.Millisecond
	p.enter(now, false)
	p.work(now.Add(500 * time.Millisecond))
	if got := p.deadline.Sub(now); got != 900*time.Millisecond {
		t.Fatal(got)
	}
	p.work(now.Add(800 * time.Millisecond)) // not again
	if got := p.deadline.Sub(now); got != 900*time.Millisecond {
		t.Fatal(got)
	}
	p.enter(now, false)
	p.work(now.Add(1300 * time.Millisecond)) // and never longer
	if got := p.deadline.Sub(now); got != 1400*time.Millisecond {
		t.Fatal(got)
	}
}

func TestViewTimeLeavesOutIdleWaiting(t *testing.T) {
	p, now := paced()
	p.smoothed = 800 * time.Millisecond
	p.enter(now, false)
	p.certified(now.Add(1160*time.Millisecond), true)
	if p.smoothed != 720*time.Millisecond { // 800 + (160 - 800) / 8
		t.Fatal(p.smoothed)
	}
	p.certified(now.Add(300*time.Millisecond), true) // sooner than idle: nothing was measured
	if p.smoothed != 720*time.Millisecond {
		t.Fatal(p.smoothed)
	}
	p.enter(now, true)
	p.failed = 3
	p.certified(now.Add(1520*time.Millisecond), false)
	if p.smoothed != 720*time.Millisecond || p.failed != 0 {
		t.Fatal("a QC of another view measures nothing and ends the growth")
	}
	p.certified(now.Add(1520*time.Millisecond), true)
	if p.smoothed != 820*time.Millisecond {
		t.Fatal(p.smoothed)
	}
}
