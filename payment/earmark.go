package payment

import (
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// earmark is money in a channel that is spoken for by a quote and not locked yet: so no second quote counts
// on it. It is known to this start alone: after a restart a payment whose lock finds too little is refused,
// and nothing has moved.
type earmark struct {
	peer   cypherlink.ParticipantID
	asset  cypherlink.Asset
	amount cypherlink.Amount
	until  time.Time
}

// spare is what the institution can still promise to pay in its open channel with a peer: what is free and
// not earmarked; nothing while the lane is not in order, or once locks are promised of all that it may have.
func (s *Tellers) spare(peer cypherlink.ParticipantID, asset cypherlink.Asset) cypherlink.Amount {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spareNow(peer, asset)
}

// spareNow is spare; s.mu is held.
func (s *Tellers) spareNow(peer cypherlink.ParticipantID, asset cypherlink.Asset) cypherlink.Amount {
	free, slots := cypherlink.Amount(0), 0
	for _, t := range s.tellers {
		shown := t.shown.Load()
		if t.peer == peer && t.asset == asset && shown != nil && shown.State == channels.Opened &&
			shown.Synced && !shown.Lanes[shown.Own].Suspended {
			free, slots = shown.Free, shown.slots
		}
	}
	now := time.Now()
	for name, e := range s.earmarks {
		switch {
		case !now.Before(e.until):
			delete(s.earmarks, name)
		case e.peer == peer && e.asset == asset:
			free -= e.amount
			slots--
		}
	}
	if slots <= 0 {
		return 0
	}
	return max(0, free)
}

// earmark keeps money for a quote until it is locked, or until that time; false if there is too little.
func (s *Tellers) earmark(quote cypherlink.Hash, e earmark) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spareNow(e.peer, e.asset) < e.amount {
		return false
	}
	s.earmarks[quote] = e
	return true
}

// keeps tells whether what is kept for a quote, if anything is, is kept for a payment to that peer.
func (s *Tellers) keeps(quote cypherlink.Hash, peer cypherlink.ParticipantID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.earmarks[quote]
	return !ok || e.peer == peer
}

// assign says by which lock the money that is kept for a quote will be locked.
func (s *Tellers) assign(quote cypherlink.Hash, lock channels.LockID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.earmarks[quote]; ok {
		delete(s.earmarks, quote)
		s.earmarks[cypherlink.Hash(lock)] = e
	}
}

// forgo keeps nothing for a quote that nobody was given.
func (s *Tellers) forgo(quote cypherlink.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.earmarks, quote)
}

// locked says that a lock is written: its money is free no more, so it need not be kept.
func (s *Tellers) locked(lock channels.LockID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.earmarks, cypherlink.Hash(lock))
}
