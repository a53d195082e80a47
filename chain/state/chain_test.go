package state_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// start is the genesis time in seconds.
const start = chaintest.Start / 1000

// fabric is a chain without consensus: it builds, executes and commits block after block.
type fabric struct {
	*chaintest.Network
	*state.State
	// qc is the committee's on the last block.
	qc chain.QC
}

func open(t testing.TB, store state.Store, n *chaintest.Network) *state.State {
	t.Helper()
	s, err := state.Open(store, n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// network is that of chaintest.New, which takes a while to make and does not change.
func network(t testing.TB) *chaintest.Network {
	t.Helper()
	onlyOnce.Do(func() { theNetwork = chaintest.New(t, nil) })
	n := *theNetwork
	return &n
}

var (
	onlyOnce   sync.Once
	theNetwork *chaintest.Network
)

func weave(t testing.TB, store state.Store) *fabric {
	t.Helper()
	n := network(t)
	f := &fabric{Network: n, State: open(t, store, n)}
	n.SetRoots(t, f.Header().Roots)
	f.qc = n.Committee.Genesis()
	return f
}

func transactions(commands ...*ledger.SignedCommand) []*state.Transaction {
	txs := make([]*state.Transaction, len(commands))
	for i, c := range commands {
		txs[i] = state.NewTransaction(state.Command{Signed: c})
	}
	return txs
}

// build makes a block on the final state at seconds after the genesis.
func (f *fabric) build(
	t testing.TB, seconds int64, commands ...*ledger.SignedCommand,
) (*state.Built, chain.Block) {
	t.Helper()
	return f.buildOf(t, seconds, transactions(commands...)...)
}

// buildOf is build of any transactions.
func (f *fabric) buildOf(
	t testing.TB, seconds int64, txs ...*state.Transaction,
) (*state.Built, chain.Block) {
	t.Helper()
	at := (start + seconds) * 1000
	built, err := f.Build(f.Final(), f.Header().Height+1, at, txs)
	if err != nil {
		t.Fatal(err)
	}
	return built, f.Block(f.qc, at, built.Payload, built.Version.Roots())
}

// proven certifies a block by a child of its own, which is how depth 2 makes it final.
func (f *fabric) proven(t testing.TB, b chain.Block) (chain.FinalityProof, chain.QC) {
	t.Helper()
	qc := f.Certify(t, b.Header)
	child := f.Block(qc, b.Header.TimeMS+1, nil, b.Header.Roots)
	p := chain.FinalityProof{
		Headers: []chain.Header{b.Header, child.Header}, QC: f.Certify(t, child.Header),
	}
	if _, err := f.Committee.VerifyFinality(p); err != nil {
		t.Fatal(err)
	}
	return p, qc
}

// commit executes a block as every member does, and makes it final.
func (f *fabric) commit(t testing.TB, b chain.Block) *state.Version {
	t.Helper()
	v, err := f.Execute(f.Final(), b.Header, b.Payload)
	if err != nil {
		t.Fatal(err)
	}
	proof, qc := f.proven(t, b)
	if err := f.Commit(v, state.Final{Block: b, Proof: proof, Sequence: b.Header.Height}); err != nil {
		t.Fatal(err)
	}
	f.qc = qc
	return v
}

// block commits a block of commands that all succeed.
func (f *fabric) block(t testing.TB, seconds int64, commands ...*ledger.SignedCommand) *state.Version {
	t.Helper()
	return f.blockOf(t, seconds, transactions(commands...)...)
}

// blockOf is block of any transactions.
func (f *fabric) blockOf(t testing.TB, seconds int64, txs ...*state.Transaction) *state.Version {
	t.Helper()
	built, b := f.buildOf(t, seconds, txs...)
	for _, l := range built.LeftOut {
		t.Fatalf("left out: %v", l.Err)
	}
	return f.commit(t, b)
}

func (f *fabric) holds(t testing.TB, who ledgertest.Actor, want cypherlink.Amount) {
	t.Helper()
	got, ok, err := f.Balance(ledgertest.Account(who), f.World.Asset)
	if err != nil || !ok || got != want {
		t.Fatalf("%s holds %d, %t, %v; want %d", who.ID, got, ok, err, want)
	}
}

func code(err error) cypherlink.Code { return cypherlink.ErrorCode(err) }

// custodyOf is the custody that an event tells of, and the zero one of any other event.
func custodyOf(e state.Event) *ledger.Custody {
	c, _ := e.Custody()
	return &c
}

func TestPrepareAndConfirm(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p := w.Payment("one", 100, start+60)
	v := f.block(t, 1, w.Prepare(p))
	f.holds(t, w.Alice, ledgertest.Opening-100)
	if e := v.Events(); len(e) != 1 || custodyOf(e[0]).State != ledger.Prepared || e[0].Height != 1 ||
		e[0].TimeMS != (start+1)*1000 {
		t.Fatalf("events %+v", e)
	}
	v = f.block(t, 2, w.Confirm(w.Bob, p))
	f.holds(t, w.Bob, ledgertest.Opening+100)
	if e := v.Events(); len(e) != 1 || custodyOf(e[0]).State != ledger.Confirmed ||
		custodyOf(e[0]).Preimage != p.Preimage {
		t.Fatalf("events %+v", e)
	}
	index, err := f.LatestEvent(cypherlink.Hash(w.ID(p)))
	if err != nil || index != 1 {
		t.Fatalf("latest event %d, %v", index, err)
	}
	e, err := f.EventAt(index)
	if err != nil || custodyOf(*e).State != ledger.Confirmed || e.Height != 2 {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := f.LatestEvent(cypherlink.Hash{1}); !errors.Is(err, state.ErrUnknown) {
		t.Fatal(err)
	}
}

// Expiry comes first, then the transactions: at the expiry it is too late.
func TestExpiryComesFirst(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	in, out := w.Payment("in time", 100, start+60), w.Payment("too late", 10, start+60)
	f.block(t, 1, w.Prepare(in), w.Prepare(out))
	f.block(t, 59, w.Confirm(w.Bob, in))
	built, b := f.build(t, 60, w.Confirm(w.Bob, out))
	if len(built.LeftOut) != 1 || code(built.LeftOut[0].Err) != ledger.CodeAlreadyReturned {
		t.Fatalf("left out %+v", built.LeftOut)
	}
	v := f.commit(t, b)
	if e := v.Events(); len(e) != 1 || custodyOf(e[0]).State != ledger.Returned {
		t.Fatalf("events %+v", e)
	}
	f.holds(t, w.Alice, ledgertest.Opening-100)
	f.holds(t, w.Bob, ledgertest.Opening+100)
	if v = f.block(t, 61); len(v.Events()) != 0 {
		t.Fatal("a custody is returned twice")
	}
}

// What expired while nobody made blocks is returned by the next one, oldest expiry first.
func TestExpiryAfterAnOutage(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	var commands []*ledger.SignedCommand
	for _, expiry := range []int64{70, 50, 90, 60, 50} {
		name := string(rune('a' + len(commands)))
		commands = append(commands, w.Prepare(w.Payment(name, 10, start+expiry)))
	}
	f.block(t, 1, commands...)
	v := f.block(t, 80)
	var expiries []int64
	for _, e := range v.Events() {
		expiries = append(expiries, custodyOf(e).Leg().Expiry-start)
	}
	if !slices.Equal(expiries, []int64{50, 50, 60, 70}) {
		t.Fatalf("returned in the order %v", expiries)
	}
	if a, b := custodyOf(v.Events()[0]).ID, custodyOf(v.Events()[1]).ID; string(a[:]) > string(b[:]) {
		t.Fatal("equal expiries are not in the order of ids")
	}
	f.holds(t, w.Alice, ledgertest.Opening-10)
}

func TestInvalidBlocks(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p, q := w.Payment("one", 100, start+60), w.Payment("two", 200, start+60)
	f.block(t, 1, w.Prepare(p))
	_, good := f.build(t, 2, w.Prepare(q), w.Confirm(w.Bob, p))
	raw := func(commands ...*ledger.SignedCommand) chain.Payload {
		var out chain.Payload
		for _, tx := range transactions(commands...) {
			out = append(out, tx.Encode())
		}
		return out
	}
	tests := []struct {
		name string
		edit func(b *chain.Block)
	}{
		{"a transaction that fails", func(b *chain.Block) {
			b.Payload = append(slices.Clone(b.Payload), raw(w.Return(w.Alice, q))...)
		}},
		{"a repeated command", func(b *chain.Block) { b.Payload = append(raw(w.Prepare(p)), b.Payload...) }},
		{"one command twice", func(b *chain.Block) {
			b.Payload = append(slices.Clone(b.Payload), b.Payload[0])
		}},
		{"a wrong signature", func(b *chain.Block) {
			last := len(b.Payload[0]) - 1
			b.Payload = append(chain.Payload{slices.Clone(b.Payload[0])}, b.Payload[1:]...)
			b.Payload[0][last-32] ^= 1
		}},
		{"an unregistered signer", func(b *chain.Block) { b.Payload = raw(w.Return(w.Stranger, p)) }},
		{"bytes that are no transaction", func(b *chain.Block) { b.Payload = chain.Payload{{1, 2, 3}} }},
		{"an unknown kind of transaction", func(b *chain.Block) {
			b.Payload = append(chain.Payload{slices.Clone(b.Payload[0])}, b.Payload[1:]...)
			b.Payload[0][0] = 9
		}},
		{"a trailing byte", func(b *chain.Block) {
			b.Payload = chain.Payload{append(slices.Clone(b.Payload[0]), 0)}
		}},
		{"a key block, which nobody can follow yet", func(b *chain.Block) {
			b.Payload = chain.Payload{f.Network.Genesis.File().KeyBlock.Encode()}
		}},
		{"transactions in another order", func(b *chain.Block) {
			b.Payload = slices.Clone(b.Payload)
			slices.Reverse(b.Payload)
		}},
		{"another state root", func(b *chain.Block) { b.Header.Roots.State[0] ^= 1 }},
		{"another feed root", func(b *chain.Block) { b.Header.Roots.Feed[0] ^= 1 }},
		{"another feed size", func(b *chain.Block) { b.Header.Roots.FeedSize++ }},
		{"the parent's time", func(b *chain.Block) { b.Header.TimeMS = (start + 1) * 1000 }},
		{"the parent's height", func(b *chain.Block) { b.Header.Height-- }},
		{"a height left out", func(b *chain.Block) { b.Header.Height++ }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := good
			tt.edit(&b)
			if _, err := f.Execute(f.Final(), b.Header, b.Payload); !errors.Is(err, state.ErrBlock) {
				t.Fatalf("executed: %v", err)
			}
		})
	}
	_, empty := f.build(t, 2)
	for name, edit := range map[string]func(h *chain.Header){
		"an empty block of its parent's time":   func(h *chain.Header) { h.TimeMS = (start + 1) * 1000 },
		"an empty block of its parent's height": func(h *chain.Header) { h.Height-- },
		"an empty block that leaves out one":    func(h *chain.Header) { h.Height++ },
	} {
		h := empty.Header
		edit(&h)
		if _, err := f.Execute(f.Final(), h, nil); !errors.Is(err, state.ErrBlock) {
			t.Fatalf("%s is executed: %v", name, err)
		}
	}
	f.commit(t, good) // and no attempt has left a trace
	f.holds(t, w.Alice, ledgertest.Opening-300)
}

// A block by a leader who lets anything in is refused for that, whatever its roots are.
func TestABlockWithoutApprovalIsInvalid(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p := w.Payment("one", 100, start+60)
	f.block(t, 1, w.Prepare(p))
	prepare := func(edit func(body *ledger.Prepare)) *ledger.SignedCommand {
		c := w.Prepare(w.Payment("two", 100, start+60))
		edit(c.Command.(*ledger.Prepare))
		ledgertest.Resign(w.Alice, c)
		return c
	}
	wrong := p
	wrong.Preimage[0] ^= 1
	for name, tt := range map[string]struct {
		command *ledger.SignedCommand
		code    cypherlink.Code
	}{
		"no verdict": {prepare(func(body *ledger.Prepare) { body.Verdicts = nil }), ledger.CodeNotApproved},
		"another payment's verdicts": {prepare(func(body *ledger.Prepare) {
			body.Verdicts = w.Verdicts(p.Subject)
		}), ledger.CodeNotApproved},
		"another amount than approved": {prepare(func(body *ledger.Prepare) {
			body.Subject.Fields.Amount++
		}), ledger.CodeNotApproved},
		"another account than approved": {prepare(func(body *ledger.Prepare) {
			body.Subject.Fields.Credit = ledgertest.Account(w.Mallory)
		}), ledger.CodeNotApproved},
		"a verdict with a wrong signature": {prepare(func(body *ledger.Prepare) {
			body.Verdicts[1].Signature[0] ^= 1
		}), ledger.CodeNotApproved},
		"a wrong preimage": {w.Confirm(w.Bob, wrong), ledger.CodePreimage},
	} {
		t.Run(name, func(t *testing.T) {
			payload := chain.Payload{state.NewTransaction(state.Command{Signed: tt.command}).Encode()}
			b := f.Block(f.qc, (start+2)*1000, payload, f.Final().Roots())
			for range 2 { // nothing of the first attempt is remembered
				_, err := f.Execute(f.Final(), b.Header, b.Payload)
				if !errors.Is(err, state.ErrBlock) || cypherlink.ErrorCode(err) != tt.code {
					t.Fatalf("executed: %v", err)
				}
			}
		})
	}
}

func TestBuildLeavesOutWhatFails(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p, q := w.Payment("one", 100, start+60), w.Payment("two", 200, start+60)
	poor := w.Payment("three", ledgertest.Opening, start+60)
	forged := w.Prepare(w.Payment("four", 1, start+60))
	forged.Signature[0] ^= 1
	naked := w.Sign(w.Alice, &ledger.Prepare{Subject: w.Payment("five", 1, start+60).Subject})
	commands := []*ledger.SignedCommand{
		w.Prepare(p), w.Prepare(p), w.Prepare(poor), forged, naked, w.Confirm(w.Bob, p), w.Prepare(q),
		w.Prepare(w.Payment("six", 1, start+8)), w.Prepare(w.Payment("seven", 1, start+9)),
	}
	built, b := f.build(t, 1, commands...)
	want := map[int]cypherlink.Code{
		2: ledger.CodeFunds, 3: ledger.CodeSignature, 4: ledger.CodeNotApproved, 7: ledger.CodeExpiry,
	}
	if len(built.Payload) != 4 || len(built.LeftOut) != 5 {
		t.Fatalf("%d transactions, %d left out", len(built.Payload), len(built.LeftOut))
	}
	for _, l := range built.LeftOut {
		i := slices.Index(commands, l.Transaction.Body.(state.Command).Signed)
		if i == 1 {
			if !errors.Is(l.Err, ledger.ErrRepeated) {
				t.Fatalf("repeated: %v", l.Err)
			}
			continue
		}
		if code(l.Err) != want[i] {
			t.Fatalf("candidate %d: %v", i, l.Err)
		}
	}
	f.commit(t, b)
	f.holds(t, w.Bob, ledgertest.Opening+100)
	f.holds(t, w.Alice, ledgertest.Opening-301)
}

func TestBuildKeepsTheBounds(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	var commands []*ledger.SignedCommand
	for i := range 12 {
		p := w.Payment(string(rune('a'+i)), 1, start+60)
		p.Packet = make([]byte, ledger.MaxPacket)
		commands = append(commands, w.Prepare(p))
	}
	commands = append(commands, w.Prepare(w.Payment("small", 1, start+60)))
	built, b := f.build(t, 1, commands...)
	if len(built.LeftOut) > 0 || built.Payload.Size() > chain.MaxPayload || len(built.Payload) != 8 {
		t.Fatalf("%d transactions of %d bytes", len(built.Payload), built.Payload.Size())
	}
	f.commit(t, b)
}

func TestTryChangesNothing(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p := w.Payment("one", 100, start+60)
	tx := state.NewTransaction(state.Command{Signed: w.Prepare(p)})
	for range 2 {
		if err := f.Try(f.Final(), (start+1)*1000, tx); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Try(f.Final(), (start+53)*1000, tx); code(err) != ledger.CodeExpiry {
		t.Fatal(err)
	}
	f.block(t, 1)
	if err := f.Try(f.Final(), (start+1)*1000, tx); err != nil { // not before the version's time
		t.Fatal(err)
	}
	f.block(t, 2, tx.Body.(state.Command).Signed)
	if err := f.Try(f.Final(), (start+2)*1000, tx); !errors.Is(err, ledger.ErrRepeated) {
		t.Fatal(err)
	}
}

// A fork sees its own past alone, and dies when another one becomes final.
func TestForks(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p, q := w.Payment("one", 100, start+60), w.Payment("two", 200, start+60)
	base := f.Final()
	_, left := f.build(t, 1, w.Prepare(p))
	_, right := f.build(t, 1, w.Prepare(q))
	on := func(v *state.Version, h chain.Header, payload chain.Payload) *state.Version {
		t.Helper()
		next, err := f.Execute(v, h, payload)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	l, r := on(base, left.Header, left.Payload), on(base, right.Header, right.Payload)
	later := (start + 2) * 1000
	for _, v := range []struct {
		on           *state.Version
		known, other ledgertest.Payment
	}{{l, p, q}, {r, q, p}} {
		if err := f.Try(v.on, int64(later), state.NewTransaction(state.Command{Signed: w.Confirm(w.Bob, v.known)})); err != nil {
			t.Fatal(err)
		}
		err := f.Try(v.on, int64(later), state.NewTransaction(state.Command{Signed: w.Confirm(w.Bob, v.other)}))
		if code(err) != ledger.CodeUnknownCustody {
			t.Fatalf("a fork sees the other: %v", err)
		}
	}
	deep, err := f.Build(r, 2, int64(later), transactions(w.Confirm(w.Bob, q)))
	if err != nil {
		t.Fatal(err)
	}
	proof, qc := f.proven(t, left)
	if err := f.Commit(deep.Version, state.Final{
		Block: f.Block(f.Certify(t, right.Header), int64(later), deep.Payload, deep.Version.Roots()),
	}); !errors.Is(err, state.ErrDiscarded) {
		t.Fatalf("a block became final before its parent: %v", err)
	}
	if err := f.Commit(l, state.Final{Block: left, Proof: proof}); err != nil {
		t.Fatal(err)
	}
	f.qc = qc
	for _, v := range []*state.Version{base, r, deep.Version} {
		err := f.Try(v, int64(later)+9000, state.NewTransaction(state.Command{Signed: w.Confirm(w.Bob, q)}))
		if !errors.Is(err, state.ErrDiscarded) {
			t.Fatalf("a discarded version goes on: %v", err)
		}
	}
	f.block(t, 3, w.Prepare(q), w.Confirm(w.Bob, p))
	f.holds(t, w.Bob, ledgertest.Opening+100)
}

func TestCommitTwice(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	_, b := f.build(t, 1, w.Prepare(w.Payment("one", 100, start+60)))
	_, other := f.build(t, 1)
	v, err := f.Execute(f.Final(), b.Header, b.Payload)
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.Execute(f.Final(), b.Header, b.Payload)
	if err != nil {
		t.Fatal(err)
	}
	o, err := f.Execute(f.Final(), other.Header, other.Payload)
	if err != nil {
		t.Fatal(err)
	}
	proof, _ := f.proven(t, b)
	if err := f.Commit(o, state.Final{Block: b, Proof: proof}); !errors.Is(err, state.ErrBlock) {
		t.Fatalf("a block with another's state: %v", err)
	}
	wrong, _ := f.proven(t, other)
	if err := f.Commit(v, state.Final{Block: b, Proof: wrong}); !errors.Is(err, state.ErrBlock) {
		t.Fatalf("a block with another's proof: %v", err)
	}
	for i, v := range []*state.Version{v, again, v} {
		if err := f.Commit(v, state.Final{Block: b, Proof: proof}); err != nil {
			t.Fatalf("time %d: %v", i, err)
		}
	}
	f.holds(t, w.Alice, ledgertest.Opening-100)
	if err := f.Commit(o, state.Final{Block: other, Proof: wrong}); !errors.Is(err, state.ErrBlock) {
		t.Fatalf("two final blocks of one height: %v", err)
	}
	if f.Header().Height != 1 || f.Header() != b.Header {
		t.Fatalf("final is %+v", f.Header())
	}
}

// A block may be final without a proof of its own: the next one that has one covers it.
func TestProofFrom(t *testing.T) {
	f := weave(t, state.NewMemory())
	for i := range 4 {
		_, b := f.build(t, int64(i+1))
		v, err := f.Execute(f.Final(), b.Header, b.Payload)
		if err != nil {
			t.Fatal(err)
		}
		proof, qc := f.proven(t, b)
		if i%2 == 0 {
			proof = chain.FinalityProof{}
		}
		if err := f.Commit(v, state.Final{Block: b, Proof: proof}); err != nil {
			t.Fatal(err)
		}
		f.qc = qc
	}
	for height, want := range map[uint64]uint64{0: 2, 1: 2, 2: 2, 3: 4, 4: 4} {
		p, err := f.ProofFrom(height)
		if err != nil || p.Headers[0].Height != want {
			t.Fatalf("from %d: %v", height, err)
		}
		if h, err := f.Committee.VerifyFinality(p); err != nil || h.Height != want {
			t.Fatalf("from %d: %v", height, err)
		}
		_, err = f.ProofAt(height)
		if (err == nil) != (height == want) || err != nil && !errors.Is(err, state.ErrUnknown) {
			t.Fatalf("at %d: %v", height, err)
		}
	}
	if _, err := f.ProofFrom(5); !errors.Is(err, state.ErrUnknown) {
		t.Fatal(err)
	}
}

// Whoever has a header can check what the state holds.
func TestProofsAgainstHeaders(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	p := w.Payment("one", 100, start+60)
	f.block(t, 1, w.Prepare(p))
	root := f.Header().Roots.State
	verify := func(key []byte) (value []byte, ok bool) {
		t.Helper()
		proof, err := f.Prove(key)
		if err != nil {
			t.Fatal(err)
		}
		if proof, err = state.DecodeProof(proof.Encode()); err != nil {
			t.Fatal(err)
		}
		value, ok, err = proof.Verify(root, key)
		if err != nil {
			t.Fatal(err)
		}
		return value, ok
	}
	value, ok := verify(state.BalanceKey(ledgertest.Account(w.Alice), w.Asset))
	if amount, err := state.DecodeAmount(value); !ok || err != nil || amount != ledgertest.Opening-100 {
		t.Fatalf("%d, %t, %v", amount, ok, err)
	}
	value, ok = verify(state.CustodyKey(w.ID(p)))
	if c, err := state.DecodeCustody(value); !ok || err != nil || c.State != ledger.Prepared {
		t.Fatalf("%+v, %t, %v", c, ok, err)
	}
	for _, a := range w.Registered() {
		if _, ok := verify(state.ParticipantKey(a.ID)); !ok {
			t.Fatal("a registered participant is not in the state")
		}
	}
	for _, key := range [][]byte{
		state.ParticipantKey(w.Stranger.ID), state.CustodyKey(ledger.CustodyID{1}),
		state.BalanceKey(ledgertest.Account(w.Stranger), w.Asset),
		state.AssetKey(cypherlink.Asset{Ledger: w.Ledger, Code: "XXX"}),
	} {
		if _, ok := verify(key); ok {
			t.Fatalf("key %x is in the state", key)
		}
	}
	if _, ok := verify(state.AssetKey(w.Asset)); !ok {
		t.Fatal("the asset is not in the state")
	}
}

func TestEventPaths(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	var headers []chain.Header
	for i := range 9 {
		var commands []*ledger.SignedCommand
		for j := range i % 4 {
			commands = append(commands, w.Prepare(w.Payment(fmt.Sprint(i, j), 1, start+900)))
		}
		f.block(t, int64(i+1), commands...)
		headers = append(headers, f.Header())
	}
	for _, h := range headers {
		size := h.Roots.FeedSize
		for i := range size {
			e, err := f.EventAt(i)
			if err != nil {
				t.Fatal(err)
			}
			path, err := f.EventPath(i, size)
			if err != nil {
				t.Fatal(err)
			}
			err = merkle.VerifyInclusion(merkle.Leaf(e.Encode()), i, size, path, h.Roots.Feed)
			if err != nil {
				t.Fatalf("event %d of %d: %v", i, size, err)
			}
		}
		if _, err := f.EventPath(size, size); !errors.Is(err, state.ErrUnknown) {
			t.Fatal(err)
		}
	}
	if _, err := f.EventAt(headers[8].Roots.FeedSize); !errors.Is(err, state.ErrUnknown) {
		t.Fatal(err)
	}
	if _, err := f.EventPath(0, math.MaxUint64); !errors.Is(err, state.ErrUnknown) {
		t.Fatal(err)
	}
}

// A signature counts once it is verified, and only that one.
func TestVerify(t *testing.T) {
	f := weave(t, state.NewMemory())
	w := f.World
	good := w.Prepare(w.Payment("one", 1, start+60))
	bad := *good
	bad.Signature[3] ^= 1
	stranger := w.Sign(w.Stranger, good.Command)
	for range 2 {
		errs := f.Verify(transactions(good, &bad, stranger, good))
		if errs[0] != nil || code(errs[1]) != ledger.CodeSignature ||
			code(errs[2]) != ledger.CodeUnknownSigner || errs[3] != nil {
			t.Fatalf("%v", errs)
		}
	}
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			if errs := f.Verify(transactions(good, &bad)); errs[0] != nil || errs[1] == nil {
				t.Errorf("%v", errs)
			}
		})
	}
	running.Wait()
}
