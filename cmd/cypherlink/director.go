package main

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

// The demonstration watches the parties where they touch the ledgers: each party's ledgers are
// wrapped, so that a step of the main job is told at the moment at which it happens, and so
// that a party can be made to fall silent just before it acts.

// steps is the number of steps of the main job.
const steps = 13

// errSilent is what a party that was made silent gets from its ledgers.
var errSilent = errors.New("the party was made silent")

// step is one step of the main job as it happened.
type step struct {
	N        int       `json:"n"`
	What     string    `json:"what"`
	At       time.Time `json:"at"`
	Evidence string    `json:"evidence"`
}

// director collects the steps, tells them in their order, and silences.
type director struct {
	tell func(step)
	// mute is the step before which the party that acts falls silent, 0 for none; silenced
	// gets that party's folder, once.
	mute     int
	silenced chan string
	// hush makes Bank B silent in its channels.
	hush hush

	mu      sync.Mutex
	seen    map[int]step
	told    int
	stilled string
	lifted  bool
}

func newDirector(mute int, tell func(step)) *director {
	return &director{tell: tell, mute: mute, silenced: make(chan string, 1), seen: map[int]step{}}
}

// happened notes a step; a repetition changes nothing. Steps are told in their order, and one
// that was heard of after a later one has the later one's time.
func (d *director) happened(n int, what, evidence string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.seen[n]; ok {
		return
	}
	at := time.Now().UTC()
	for later, s := range d.seen {
		if later > n && s.At.Before(at) {
			at = s.At
		}
	}
	d.seen[n] = step{n, what, at, evidence}
	for {
		s, ok := d.seen[d.told+1]
		if !ok {
			return
		}
		d.told++
		d.tell(s)
	}
}

// all are the steps that happened, in order.
func (d *director) all() []step {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []step
	for n := 1; n <= steps; n++ {
		if s, ok := d.seen[n]; ok {
			out = append(out, s)
		}
	}
	return out
}

// may tells whether the party may take the step. The first time that it is the one to be
// silenced it may not, nor anything after it, until it is lifted.
func (d *director) may(folder string, n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lifted || d.mute == 0 {
		return true
	}
	if n == d.mute && d.stilled == "" {
		d.stilled = folder
		d.silenced <- folder
	}
	return d.stilled != folder
}

// lift lets the silenced party act again.
func (d *director) lift() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lifted = true
}

// watch is what a party sees and hears through.
func (d *director) watch(folder string) lens {
	l := bare()
	l.ledger = func(inner ledger.Ledger) ledger.Ledger { return &watched{d, folder, inner} }
	if folder == folderB {
		l.peers, l.answer = d.hush.peers, d.hush.answer
	}
	return l
}

// watched is a ledger as one party sees it.
type watched struct {
	director *director
	folder   string
	inner    ledger.Ledger
}

// deed is what a submission or a sighting means in the main job.
type deed struct {
	folder string
	ledger cypherlink.LedgerID
	state  ledger.State
}

// Submit tells the steps that begin and end with the command.
func (w *watched) Submit(ctx context.Context, c *ledger.SignedCommand) (ledger.Receipt, error) {
	before, after := submitted(deed{w.folder, c.Ledger, leadsTo(c.Command)})
	evidence := c.Command.About(c.Network).String()
	for _, n := range before {
		if !w.director.may(w.folder, n.n) {
			return ledger.Receipt{}, errSilent
		}
		w.director.happened(n.n, n.what, evidence)
	}
	if after.n != 0 && !w.director.may(w.folder, after.n) {
		return ledger.Receipt{}, errSilent
	}
	r, err := w.inner.Submit(ctx, c)
	if err == nil && after.n != 0 {
		w.director.happened(after.n, after.what, evidence)
	}
	return r, err
}

// Lookup lets a silenced party hear nothing.
func (w *watched) Lookup(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	r, err := w.inner.Lookup(ctx, id)
	if err != nil {
		return r, err
	}
	if !w.sees(&r) {
		return ledger.Receipt{}, errSilent
	}
	return r, nil
}

// Events tells the steps that are sightings.
func (w *watched) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for e, err := range w.inner.Events(ctx, after) {
			if err == nil && !w.sees(&e.Receipt) {
				yield(ledger.Event{}, errSilent)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// sees tells the sighting, or that the party may not see it.
func (w *watched) sees(r *ledger.Receipt) bool {
	for _, n := range sighted(deed{w.folder, r.Ledger, r.Custody.State}) {
		if !w.director.may(w.folder, n.n) {
			return false
		}
		if n.what != "" {
			w.director.happened(n.n, n.what, r.Custody.ID.String())
		}
	}
	return true
}

func leadsTo(c ledger.Command) ledger.State {
	switch c.(type) {
	case *ledger.Prepare:
		return ledger.Prepared
	case *ledger.Confirm:
		return ledger.Confirmed
	case *ledger.Return:
		return ledger.Returned
	case *ledger.Leave, *ledger.Enter:
	}
	return ledger.Absent
}

// cue is a step and how a person says it.
type cue struct {
	n    int
	what string
}

// submitted are the steps that are done when a party hands in a command, and the one that is
// done when the command is final.
func submitted(d deed) (before []cue, after cue) {
	switch d {
	case deed{folderA, ledgerDE, ledger.Prepared}:
		return nil, cue{4, "Bank A has a custody on the DE ledger, under the condition and a timeout; it carries the packet"}
	case deed{folderClearing, ledgerCypherium, ledger.Prepared}:
		return []cue{{6, "the clearing bank reads the packet and the terms that it signed, and passes the packet on"}},
			cue{7, "the clearing bank has a custody on the Cypherium ledger, same condition, shorter timeout"}
	case deed{folderB, ledgerCypherium, ledger.Confirmed}:
		return []cue{{9, "Bank B derives preimage and condition itself, compares condition and amount, and accepts"}},
			cue{10, "Bank B has confirmed with the preimage: the DC/EP are Bank B's"}
	case deed{folderClearing, ledgerDE, ledger.Confirmed}:
		return []cue{{12, "the clearing bank takes the preimage from it"}},
			cue{13, "the clearing bank has confirmed on the DE ledger: the DE are the clearing bank's"}
	}
	return nil, cue{}
}

// sighted are the steps that are done when a party sees a final custody. The ones without
// words are told later, and keep a party from acting that is to be silent before them.
func sighted(d deed) []cue {
	switch d {
	case deed{folderClearing, ledgerDE, ledger.Prepared}:
		return []cue{{5, "the clearing bank sees a custody on the DE ledger that concerns it"}, {n: 6}}
	case deed{folderB, ledgerCypherium, ledger.Prepared}:
		return []cue{{8, "Bank B sees a custody on the Cypherium ledger that concerns it"}, {n: 9}}
	case deed{folderClearing, ledgerCypherium, ledger.Confirmed}:
		return []cue{{11, "the clearing bank sees the confirmation"}, {n: 12}}
	}
	return nil
}

// actorOf is the folder of whoever acts in a step that can fail, or empty.
func actorOf(n int) string {
	switch n {
	case 4:
		return folderA
	case 5, 6, 7, 11, 12, 13:
		return folderClearing
	case 8, 9, 10:
		return folderB
	}
	return ""
}
