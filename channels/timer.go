package channels

// impatient sends again what is not answered, and asks for the end of the generation when an update
// waits too long for the payee's signature.
func (p *Party) impatient() {
	if p.s.ResendMS > 0 && p.now >= p.resend+p.s.ResendMS {
		p.resend = p.now
		p.sendAgain()
	}
	l := p.own()
	if p.s.CertifyMS == 0 || l.certified == l.last.Seq || p.now < p.since+p.s.CertifyMS || l.barred {
		return
	}
	// First together, at once; half a time later alone.
	if p.now >= p.since+p.s.CertifyMS+p.s.CertifyMS/2 {
		p.raise(p.s.Side, l.last.Seq)
	} else if !p.suspended(p.s.Side) { // else one is agreed on, or none is possible
		_ = p.ask(Cut{p.s.Side, l.gen}) // refused: the challenge follows
	}
}

func (p *Party) sendAgain() {
	if !p.synced {
		p.send(p.resync(0))
		return
	}
	l := p.own()
	for _, e := range l.entries[l.certified-l.base.Seq:] {
		p.send(Offer{e.Entry})
	}
}

// wake is when the next of these is due.
func (p *Party) wake() int64 {
	at := int64(0)
	earlier := func(t int64) { // what is overdue waits for the chain, not for the time
		if t > p.now && (at == 0 || t < at) {
			at = t
		}
	}
	l := p.own()
	if p.s.ResendMS > 0 && (!p.synced || l.certified < l.last.Seq) {
		earlier(p.resend + p.s.ResendMS)
	}
	if p.s.CertifyMS > 0 && l.certified < l.last.Seq {
		earlier(p.since + p.s.CertifyMS)
		earlier(p.since + p.s.CertifyMS + p.s.CertifyMS/2)
	}
	return at
}
