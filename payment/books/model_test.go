package books_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/payment/books"
)

// model is books in memory, as the contract of payment.Books reads.
type model struct {
	standing map[kyc.Account]kyc.Standing
	sheet    map[string]cypherlink.Amount
	known    map[key]*fate
}

type key struct {
	payment   cypherlink.UETR
	direction payment.Direction
}

// fate is what became of a posting.
type fate struct {
	posting                        payment.Posting
	held, posted, released, refuse bool
	no                             string // why it is refused
}

func newModel() *model {
	m := &model{
		standing: map[kyc.Account]kyc.Standing{}, sheet: map[string]cypherlink.Amount{}, known: map[key]*fate{},
	}
	for _, a := range accounts() {
		m.standing[a.Number] = a.Standing
		m.move("opening", account("customer/", a.Number), a.Opening[0].Amount)
	}
	return m
}

func account(kind string, a kyc.Account) string {
	if a.Other != "" {
		return kind + "Othr/" + a.Other
	}
	return kind + "IBAN/" + a.IBAN.String()
}

func (m *model) move(from, to string, amount cypherlink.Amount) {
	for at, change := range map[string]cypherlink.Amount{from: -amount, to: amount} {
		if m.sheet[at] += change; m.sheet[at] == 0 {
			delete(m.sheet, at)
		}
	}
}

func (m *model) barred(a kyc.Account) string {
	return map[kyc.Standing]string{kyc.Open: "", kyc.Closed: closed, kyc.Blocked: blocked, kyc.Unknown: unknown}[m.standing[a]]
}

func (m *model) take(step books.Step, p payment.Posting) string {
	k := key{p.Payment, p.Direction}
	f, known := m.known[k]
	if !known {
		f = &fate{posting: p}
	} else if f.posting != p {
		return "contradiction"
	}
	answer := map[books.Step]func(*fate) string{
		books.Hold: m.hold, books.Post: m.post, books.Release: m.release, books.Refuse: m.refuse,
	}[step](f)
	if answer != "contradiction" {
		m.known[k] = f
	}
	return answer
}

func (m *model) places(p payment.Posting) (source, hold, channel string) {
	channel = "channel/" + p.Channel.String()
	if !p.Returns.IsZero() {
		return "returns", "held/returns", channel
	}
	return account("customer/", p.Customer), account("held/", p.Customer), channel
}

func (m *model) hold(f *fate) string {
	p := f.posting
	switch {
	case f.no != "":
		return f.no
	case f.held:
		return "ok"
	}
	source, hold, _ := m.places(p)
	if p.Returns.IsZero() {
		if f.no = m.barred(p.Customer); f.no == "" && m.sheet[source] < p.Money.Amount {
			f.no = short
		}
	} else {
		came := m.known[key{p.Returns, payment.In}]
		if came == nil || !came.refuse || came.posting.Money != p.Money {
			return "contradiction"
		}
		for _, other := range m.known {
			if other.posting.Returns == p.Returns && other.held && !other.released {
				f.no = short
			}
		}
	}
	if f.no != "" {
		return f.no
	}
	f.held = true
	m.move(source, hold, p.Money.Amount)
	return "ok"
}

func (m *model) post(f *fate) string {
	p := f.posting
	source, hold, channel := m.places(p)
	if p.Direction == payment.Out {
		if f.posted {
			return "ok"
		}
		if !f.held || f.released {
			return "contradiction"
		}
		f.posted = true
		m.move(hold, channel, p.Money.Amount)
		return "ok"
	}
	if f.posted || f.no != "" {
		return map[bool]string{true: "ok", false: f.no}[f.posted]
	}
	if f.no = m.barred(p.Customer); f.no != "" {
		return f.no
	}
	f.posted = true
	m.move(channel, source, p.Money.Amount)
	return "ok"
}

func (m *model) release(f *fate) string {
	source, hold, _ := m.places(f.posting)
	switch {
	case f.posted:
		return "contradiction"
	case f.held && !f.released:
		f.released = true
		m.move(hold, source, f.posting.Money.Amount)
	case !f.held && f.no == "":
		f.no = over
	}
	return "ok"
}

func (m *model) refuse(f *fate) string {
	switch _, _, channel := m.places(f.posting); {
	case f.posted:
		return "contradiction"
	case !f.refuse:
		f.refuse = true
		m.move(channel, "returns", f.posting.Money.Amount)
	}
	if f.no == "" {
		f.no = over
	}
	return "ok"
}

// Whatever is called, in whatever order, over restarts, over transactions that run twice, and while
// accounts are opened, closed and blocked: the books answer and hold what the model does.
func TestAgainstModel(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		b := newBank(t, dsn)
		rapid.Check(t, func(r *rapid.T) {
			b.accounts = accounts()
			b.empty()
			b.reopen()
			m := newModel()
			for range rapid.IntRange(1, 30).Draw(r, "steps") {
				m.step(r, b)
			}
			if diff := cmp.Diff(m.sheet, b.sheet()); diff != "" {
				r.Fatalf("balances (-want +got):\n%s", diff)
			}
		})
	})
}

func (m *model) step(r *rapid.T, b *bank) {
	switch rapid.IntRange(0, 15).Draw(r, "what") {
	case 0:
		b.reopen()
		return
	case 1:
		one := &b.accounts[rapid.IntRange(0, len(b.accounts)-1).Draw(r, "account")]
		one.Standing = rapid.SampledFrom([]kyc.Standing{kyc.Open, kyc.Closed, kyc.Blocked}).Draw(r, "standing")
		m.standing[one.Number] = one.Standing
		b.reopen()
		return
	}
	step, p := drawCall(r)
	if rapid.Bool().Draw(r, "undone before") {
		if err := b.Undone(b.t.Context(), step, &p); err != nil {
			r.Fatal(err)
		}
	}
	want := m.take(step, p)
	if got := verdict(b.take(step, p)); got != want {
		r.Fatalf("%s of %+v: %s, want %s", step, p, got, want)
	}
}

func drawCall(r *rapid.T) (books.Step, payment.Posting) {
	customer := rapid.SampledFrom([]kyc.Account{alice, alice, alice, bob, carol, dave, mallory}).Draw(r, "customer")
	amount := rapid.SampledFrom([]cypherlink.Amount{600, 600, 600, 1}).Draw(r, "amount")
	n := rapid.SampledFrom([]byte{1, 2, 3, 4}).Draw(r, "payment")
	steps, p := []books.Step{books.Post, books.Refuse}, in(n, customer, amount)
	switch rapid.IntRange(0, 2).Draw(r, "kind") {
	case 0:
		steps, p = []books.Step{books.Hold, books.Hold, books.Post, books.Release}, out(n, customer, amount)
	case 1:
		steps = []books.Step{books.Hold, books.Hold, books.Post, books.Release}
		p = back(n+4, rapid.SampledFrom([]byte{1, 2, 3, 4}).Draw(r, "incoming"), amount)
	}
	if rapid.IntRange(0, 9).Draw(r, "channel") == 0 {
		p.Channel[31] = 2
	}
	return rapid.SampledFrom(steps).Draw(r, "step"), p
}
