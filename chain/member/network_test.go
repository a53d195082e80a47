package member_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
)

// consensus is the protocol among members, as everybody on the network can know it.
func consensus(maxBody int) peer.Protocol {
	p := peer.DefaultProtocol("cypherlink/consensus/1")
	p.MaxBody = maxBody
	return p
}

// answered tells whether the other end talks to this client at all.
func answered(c *peer.Client, kind uint8, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := c.Call(ctx, kind, body)
	if remote := (*peer.RemoteError)(nil); errors.As(err, &remote) {
		return nil
	}
	return err
}

// Who may speak what: members both protocols, other participants the ledger's alone, and
// nobody else anything.
func TestWhoMaySpeakWhat(t *testing.T) {
	w := found(t, quick())
	w.start(0)
	stranger := identity(t)
	tests := []struct {
		name     string
		id       peer.Identity
		protocol peer.Protocol
		ok       bool
	}{
		{"a member speaks consensus", w.tls[1], consensus(bft.MaxMessage), true},
		{"a member may also fetch and submit", w.tls[1], follow.Wire(), true},
		{"a participant speaks the ledger's protocol", w.bank, follow.Wire(), true},
		{"a participant does not speak consensus", w.bank, consensus(bft.MaxMessage), false},
		{"a member does not speak consensus with itself", w.tls[0], consensus(bft.MaxMessage), false},
		{"a stranger does not speak consensus", stranger, consensus(bft.MaxMessage), false},
		{"a stranger does not speak the ledger's protocol", stranger, follow.Wire(), false},
		{"nobody speaks another protocol", w.tls[1], peer.DefaultProtocol("cypherlink/other/1"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // a refusal is a second of silence
			c := w.dial(tt.id, 0, tt.protocol)
			if err := answered(c, follow.KindFetch, follow.Fetch{From: 1}.Encode()); (err == nil) != tt.ok {
				t.Fatal(err)
			}
			if c.Connected() != tt.ok {
				t.Fatalf("connected: %t", c.Connected())
			}
		})
	}
	// And a member speaks with nobody who has another key than genesis says.
	m := w.Committee.KeyBlock().Members[0]
	c, err := peer.Dial(w.addrs[m.ID], stranger.SPKI(), w.bank, follow.Wire())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if answered(c, follow.KindFetch, follow.Fetch{From: 1}.Encode()) == nil {
		t.Fatal("another member's pin was accepted")
	}
}

// A regulator's key opens the chain for reading. Every other call is refused, also one that brings
// what another participant signed, and so is consensus (T1).
func TestARegulatorReadsOnly(t *testing.T) {
	reader := identity(t)
	w := found(t, discover(t, func(f *chain.GenesisFile) {
		f.KeyBlock.IdleMS = 100
		mallory := &f.Participants[chaintest.Members+2]
		mallory.Role, mallory.BIC, mallory.TLS = chain.RoleRegulator, cypherlink.BIC{}, cypherlink.Hash(reader.SPKI())
	}))
	w.startAll()
	c := w.dial(reader, 0, follow.Wire())
	blocks, err := fetch(c, 1, patience)
	if err != nil || len(blocks.Blocks) == 0 {
		t.Fatalf("%+v, %v", blocks, err)
	}
	p := w.payment("one")
	banks := w.World.Prepare(p) // would succeed
	own := w.World.Sign(w.World.Mallory, banks.Command)
	for name, command := range map[string]*ledger.SignedCommand{"a bank's command": banks, "its own": own} {
		var remote *peer.RemoteError
		if _, err := submit(c, 0, command); !errors.As(err, &remote) || remote.Code != member.CodeReader {
			t.Errorf("%s: %v", name, err)
		}
	}
	for kind := range 256 {
		if kind := uint8(kind); kind != follow.KindFetch {
			var remote *peer.RemoteError
			if _, err := c.Call(t.Context(), kind, nil); !errors.As(err, &remote) || remote.Code != member.CodeReader {
				t.Errorf("kind %d: %v", kind, err)
			}
		}
	}
	other := w.dial(reader, 0, consensus(bft.MaxMessage))
	if answered(other, follow.KindFetch, nil) == nil || other.Connected() {
		t.Error("it speaks consensus")
	}
	if w.runs[0].Metrics().Admitted != 0 {
		t.Error("a transaction was admitted")
	}
	w.settle(w.client(0), banks)
}

// A member that sends nonsense is counted and harms nobody.
func TestGarbageFromAMember(t *testing.T) {
	w := found(t, quick())
	for i := range 3 {
		w.start(i)
	}
	w.settle(w.client(0), w.World.Prepare(w.payment("before")))
	class := peer.Class{Length: 64}
	c := w.dial(w.tls[3], 0, consensus(bft.MaxMessage), class)
	vote := chain.Vote{Tuple: chain.Tuple{View: 1}, Member: 3}
	good := bft.Encode(1, bft.Vote{Vote: vote})
	bodies := map[string]struct {
		kind uint8
		body []byte
	}{
		"nothing":                  {1, nil},
		"noise":                    {1, []byte("nonsense")},
		"a byte too many":          {1, append(good, 0)},
		"a byte too few":           {1, good[:len(good)-1]},
		"an unknown kind":          {9, good},
		"no transactions":          {2, []byte{0, 0, 0, 1}},
		"more than any block has":  {2, []byte{0xff, 0xff, 0xff, 0xff}},
		"a transaction of nothing": {2, []byte{0, 0, 0, 1, 0, 0, 0, 0}},
	}
	for name, b := range bodies {
		if err := c.Send(t.Context(), 0, b.kind, b.body); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	w.eventually("all of it is counted", func() bool {
		return w.runs[0].Metrics().Malformed == uint64(len(bodies))
	})
	// Another epoch's message, and a vote with a wrong signature, are well formed and change
	// nothing; nor does a member that speaks for another.
	other := vote
	other.Member = 2
	later, others := bft.Encode(2, bft.Vote{Vote: vote}), bft.Encode(1, bft.Vote{Vote: other})
	for _, b := range [][]byte{later, good, others} {
		if err := c.Send(t.Context(), 0, 1, b); err != nil {
			t.Fatal(err)
		}
	}
	// A frame above the limit ends the connection.
	big := w.dial(w.tls[3], 0, consensus(8<<20), class)
	if err := big.Send(t.Context(), 0, 1, make([]byte, bft.MaxMessage+1)); err != nil {
		t.Fatal(err)
	}
	if err := answered(big, 3, make([]byte, bft.MaxMessage+1)); err == nil {
		t.Fatal("a frame above the limit was answered")
	}
	w.settle(w.client(0), w.World.Prepare(w.payment("after")))
	if m := w.runs[0].Metrics(); m.Faults > 0 {
		t.Fatalf("%+v", m)
	}
}

func TestGarbageFromAParticipant(t *testing.T) {
	w := found(t, quick())
	w.start(0)
	c := w.client(0)
	p := w.payment("one")
	good := follow.Submission{Transaction: state.NewTransaction(state.Command{Signed: w.World.Prepare(p)})}.Encode()
	confirm := state.NewTransaction(state.Command{Signed: w.World.Confirm(w.World.Bob, p)}).Encode()
	// with makes a confirm's preimage a byte shorter or longer: it stands before the signature.
	with := func(preimage int) []byte {
		end := len(confirm) - 64
		raw := slices.Concat(confirm[:end-32], make([]byte, preimage), confirm[end:])
		return slices.Concat(make([]byte, 4), binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw)
	}
	if _, err := follow.DecodeSubmission(with(32)); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]struct {
		kind uint8
		body []byte
	}{
		"an unknown kind":          {77, nil},
		"an empty submission":      {follow.KindSubmit, nil},
		"a submission cut short":   {follow.KindSubmit, good[:len(good)-1]},
		"a submission and more":    {follow.KindSubmit, append(good, 0)},
		"a wait of a day":          {follow.KindFetch, follow.Fetch{WaitMS: 86_400_000}.Encode()},
		"a fetch cut short":        {follow.KindFetch, []byte{1}},
		"a submission of a fetch":  {follow.KindSubmit, follow.Fetch{}.Encode()},
		"noise as long as allowed": {follow.KindSubmit, make([]byte, follow.MaxMessage)},
		"a preimage of 31 bytes":   {follow.KindSubmit, with(31)},
		"a preimage of 33 bytes":   {follow.KindSubmit, with(33)},
	} {
		_, err := c.Call(t.Context(), call.kind, call.body)
		var remote *peer.RemoteError
		if !errors.As(err, &remote) || remote.Code != member.CodeMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who submits without end fills his share and no more, also while nothing becomes final.
func TestAFloodOfSubmissions(t *testing.T) {
	w := found(t, quick())
	o := w.options(0)
	o.Limits.Transactions, o.Limits.Calls = 32, 16
	w.startWith(0, o)
	c := w.client(0)
	var outcomes sync.Map
	var callers sync.WaitGroup
	for worker := range 8 {
		callers.Go(func() {
			for i := range 20 {
				_, err := submit(c, 0, w.World.Prepare(w.payment(fmt.Sprint(worker, " ", i))))
				outcomes.Store(fmt.Sprint(worker, " ", i), err)
			}
		})
	}
	callers.Wait()
	full := 0
	outcomes.Range(func(_, err any) bool {
		var remote *peer.RemoteError
		if e, _ := err.(error); errors.As(e, &remote) && remote.Code == member.CodePoolFull {
			full++
		}
		return true
	})
	if m := w.runs[0].Metrics(); m.Pool != 32 || full != 160-32 || m.Dropped != uint64(full) {
		t.Fatalf("%d in the pool, %d refused, %d dropped", m.Pool, full, m.Dropped)
	}
	// There is still room for another signer's.
	p := w.payment("of Bob")
	p.Subject.Fields.Debit, p.Subject.Fields.Credit = p.Subject.Fields.Credit, p.Subject.Fields.Debit
	bobs := w.World.Sign(w.World.Bob, &ledger.Prepare{
		Subject: p.Subject, Packet: p.Packet, Verdicts: w.World.Verdicts(p.Subject),
	})
	if o, err := submit(c, 0, bobs); err != nil || o.Status != follow.Pending {
		t.Fatalf("%+v, %v", o, err)
	}
	if m := w.runs[0].Metrics(); m.Pool != 32 {
		t.Fatalf("%d in the pool", m.Pool)
	}
	// With the others it is all done.
	for i := 1; i < 4; i++ {
		w.start(i)
	}
	if o, err := submit(c, patience, bobs); err != nil || o.Status != follow.Final {
		t.Fatalf("%+v, %v", o, err)
	}
	w.eventually("the pool is empty", func() bool { return w.runs[0].Metrics().Pool == 0 })
}

// Calls that wait are counted: one more is refused at once.
func TestTooManyCalls(t *testing.T) {
	w := found(t, quick())
	o := w.options(0)
	o.Limits.Calls = 4
	w.startWith(0, o)
	c := w.client(0)
	ctx, cancel := context.WithCancel(t.Context())
	body := follow.Fetch{From: 1000, WaitMS: follow.MaxWaitMS}.Encode()
	busy := make(chan struct{})
	var callers sync.WaitGroup
	for range 5 {
		callers.Go(func() {
			_, err := c.Call(ctx, follow.KindFetch, body)
			var remote *peer.RemoteError
			if errors.As(err, &remote) && remote.Code == peer.CodeBusy {
				close(busy)
			}
		})
	}
	<-busy
	cancel()
	callers.Wait()
}

// A member that votes twice in a view, with its own keys, is reported, and the evidence
// outlives the process.
func TestEquivocationIsEvidence(t *testing.T) {
	w := found(t, quick())
	for i := range 3 {
		w.start(i)
	}
	w.settle(w.client(0), w.World.Prepare(w.payment("before")))
	c := w.dial(w.tls[3], 0, consensus(bft.MaxMessage), peer.Class{Length: 4})
	view, epoch := w.runs[0].Metrics().View+20, w.Committee.Epoch()
	vote := func(epoch uint64, block byte) {
		tuple := chain.Tuple{View: view, Height: 10, Block: cypherlink.Hash{block}, ParentView: view - 1}
		signature, err := w.Keys[3].SignRecorded(w.Committee.VoteFrame(tuple))
		if err != nil {
			t.Fatal(err)
		}
		v := bft.Vote{Vote: chain.Vote{Tuple: tuple, Member: 3, Signature: signature}}
		if err := c.Send(t.Context(), 0, 1, bft.Encode(epoch, v)); err != nil {
			t.Fatal(err)
		}
	}
	vote(epoch, 1)
	vote(epoch+1, 2) // another epoch's message is none of this one
	vote(epoch, 3)
	w.eventually("the fault is proved", func() bool { return w.runs[0].Metrics().Faults == 1 })
	w.stop(0)
	w.start(0)
	all, err := w.runs[0].Evidence()
	if err != nil || len(all) != 1 {
		t.Fatalf("%d faults, %v", len(all), err)
	}
	e, ok := all[0].(chain.DoubleVote)
	if !ok || e.First.Tuple.Block[0] != 1 || e.Second.Tuple.Block[0] != 3 {
		t.Fatalf("%+v", all[0])
	}
	if who, err := w.Committee.VerifyEvidence(all[0]); err != nil || who != 3 {
		t.Fatalf("convicts %d, %v", who, err)
	}
	w.settle(w.client(0), w.World.Prepare(w.payment("after")))
}

// What a participant brings to one member alone reaches the others, so that whoever leads
// next includes it. They do not pass it on.
func TestGossip(t *testing.T) {
	w := found(t, quick())
	o := w.options(0)
	o.Peers = maps.Clone(w.addrs)
	o.Peers[w.Committee.KeyBlock().Members[2].ID] = freeAddr(t) // where nobody listens
	w.startWith(0, o)
	w.start(1)
	first := 0
	w.eventually("the first two are connected", func() bool {
		o, err := submit(w.client(0), 0, w.World.Prepare(w.payment(fmt.Sprint("at 0: ", first))))
		if err != nil || o.Status != follow.Pending {
			t.Fatalf("%+v, %v", o, err)
		}
		first++
		return w.runs[1].Metrics().Admitted > 0
	})
	w.start(2)
	var sent uint64
	w.eventually("the last two are connected", func() bool {
		o, err := submit(w.client(1), 0, w.World.Prepare(w.payment(fmt.Sprint("at 1: ", sent))))
		if err != nil || o.Status == follow.Refused {
			t.Fatalf("%+v, %v", o, err)
		}
		sent++
		return w.runs[2].Metrics().Admitted > 0
	})
	if m := w.runs[2].Metrics(); m.Admitted > sent {
		t.Fatalf("%d of %d transactions: some came by way of another member", m.Admitted, sent)
	}
}
