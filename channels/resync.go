package channels

// resync is how far this bank's log reaches.
func (p *Party) resync(echo uint64) Resync {
	own, peer := p.own(), p.peer()
	m := Resync{
		Gens:    [2]uint32{p.d.lanes[A].gen, p.d.lanes[B].gen},
		Written: own.last.Head, Session: p.session, Echo: echo,
	}
	if e := own.at(own.certified); e != nil {
		m.Certified = &Signed{e.Update, e.Peer}
	}
	if e := peer.at(peer.last.Seq); e != nil {
		m.Countersigned = &Signed{e.Update, e.Peer}
	}
	for i := range p.d.lanes {
		if p.d.lanes[i].listed {
			m.Locks[i] = p.d.lanes[i].base.locks
		}
	}
	return m
}

// compare takes the other bank's Resync: each then sends again what the other lacks, and a log that
// is behind what this bank has signed is known to be an old copy (L10).
func (p *Party) compare(m Resync) error {
	if p.view == nil {
		return refuse(L10, reasonOffline, "the chain is not known")
	}
	switch {
	case m.Echo == 0:
		p.send(p.resync(m.Session))
		return nil
	case m.Echo != p.session:
		return refuse(L10, reasonFailed, "an answer to start %d, this is %d", m.Echo, p.session)
	}
	for i := range p.d.lanes {
		lane := Side(i)
		if l := &p.d.lanes[i]; m.Gens[i] != l.gen || p.view.Channel.Lanes[i].Gen != l.gen {
			return refuse(L10, reasonOffline, "lane %s: generation %d, here it is %d", lane, m.Gens[i], l.gen)
		} else if !l.listed && LockRoot(m.Locks[i]) == l.base.Locks {
			p.persist(Listed{lane, m.Locks[i]})
		}
	}
	if err := p.compareOwn(m.Countersigned); err != nil {
		return err
	}
	if err := p.comparePeer(m.Certified, m.Written); err != nil {
		return err
	}
	if p.synced && p.now < p.resend+p.s.ResendMS {
		return nil // what it lacks is under way: asking again does not bring a window of it each time
	}
	p.synced, p.resend = true, p.now
	p.again(m)
	return nil
}

// compareOwn holds the own lane against what the other bank has of it under this bank's signature.
func (p *Party) compareOwn(m *Signed) error {
	if m == nil {
		return nil
	}
	l, u := p.own(), &m.Update
	switch e := l.at(u.Seq); {
	case u.Channel != p.s.Channel || u.Lane != p.s.Side || u.Gen != l.gen:
		return refuse(L10, reasonForm, "an update of another lane")
	case u.Seq <= l.base.Seq || e != nil && e.Update.Hash == u.Hash:
		return nil
	case !p.signedBy(p.view.Channel.Lanes[p.s.Side].Signers.Payer, u, m.Signature):
		return refuse(L10, reasonSignature, "update %d of the own lane is not signed by this bank", u.Seq)
	case e == nil:
		p.bar()
	default:
		p.stop(Evidence{Signed{e.Update, [64]byte{}}, *m})
	}
	return nil
}

// comparePeer holds the other lane against what its payer has of it.
func (p *Party) comparePeer(m *Signed, written Head) error {
	l := p.peer()
	if m != nil {
		u := &m.Update
		switch e := l.at(u.Seq); {
		case u.Channel != p.s.Channel || u.Lane != p.s.Side.Other() || u.Gen != l.gen:
			return refuse(L10, reasonForm, "an update of another lane")
		case u.Seq <= l.base.Seq || e != nil && e.Update.Hash == u.Hash:
		case !p.signedBy(p.view.Channel.Lanes[u.Lane].Signers.Payee, u, m.Signature):
			return refuse(L10, reasonSignature, "update %d is not countersigned by this bank", u.Seq)
		case e == nil:
			p.bar()
			return nil
		default:
			p.stop(Evidence{Signed{e.Update, e.Peer}, *m})
			return nil
		}
	}
	if e := l.at(written.Seq); e != nil && e.Update.Hash != written.Hash {
		return refuse(L10, reasonFailed, "the other bank says that it wrote another update %d", written.Seq)
	}
	return nil
}

// again sends what the other bank lacks: the same bytes.
func (p *Party) again(m Resync) {
	own, peer := p.own(), p.peer()
	have := own.base.Seq
	if m.Countersigned != nil {
		have = max(have, m.Countersigned.Update.Seq)
	}
	for i := range own.entries {
		if e := &own.entries[i]; e.Update.Seq > have {
			p.send(Offer{e.Entry})
		}
	}
	knows := peer.base.Seq
	if m.Certified != nil {
		knows = max(knows, m.Certified.Update.Seq)
	}
	if peer.last.Seq > knows {
		p.send(p.countersignature())
	}
}
