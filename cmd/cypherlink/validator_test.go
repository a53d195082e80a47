package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/chain/submit"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
	"github.com/cypherlink/cypherlink/validator/rules"
)

// election is a network with the keys of who asks, and of whom, about a channel of Bank A and the
// clearing bank in DE on the chain.
type election struct {
	*testing.T
	*stage
	a, b, clearing, vote *keys
	callers              *callers // Bank A's
	network              cypherlink.NetworkID
}

func newElection(t *testing.T) *election {
	t.Helper()
	s, dir := raised(t, unwatched)
	e := &election{T: t, stage: s}
	var a, b connectConfig
	var clearing connectorConfig
	var vote validatorConfig
	e.a, e.b = e.load(dir, folderA, &a, &a.Node), e.load(dir, folderB, &b, &b.Node)
	e.clearing = e.load(dir, folderClearing, &clearing, &clearing.Node)
	e.vote = e.load(dir, folderVoteDE, &vote, &vote.Node)
	e.network = e.a.genesis.Network()
	e.callers = newCallers(e.a.tls, e.a.genesis, a.Node.Peers)
	t.Cleanup(func() { _ = e.callers.Close() })
	return e
}

// load reads a configuration and its keys.
func (e *election) load(dir, folder string, c any, n *node) *keys {
	e.Helper()
	if err := readConfig(filepath.Join(dir, folder, configName), c); err != nil {
		e.Fatal(err)
	}
	k, err := n.load()
	if err != nil {
		e.Fatal(err)
	}
	return k
}

// ask asks the Validator.
func (e *election) ask(kind uint8, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(e.Context(), 10*time.Second)
	defer cancel()
	return e.callers.Call(ctx, e.vote.self.ID, kind, body)
}

// opened has the channel opened, and waits until the Validator sees it.
func (e *election) opened() channels.ID {
	e.Helper()
	by := e.plays[folderVoteDE].process.(*validatorProcess)
	o := channels.Open{Asset: assetClaim(), Nonce: 1, Limits: channels.DefaultLimits()}
	o.Banks = channels.InOrder([2]cypherlink.ParticipantID{e.a.self.ID, e.clearing.self.ID})
	for i := range o.Banks {
		o.Accounts[i].Owner = o.Banks[i]
	}
	// from the first block on the chain's time is that of now
	e.reach(by.follow, func() bool { return by.follow.Head().Height > 0 })
	j := channels.Joint{
		Channel: channels.NewID(e.network, o.Banks, o.Asset, o.Nonce), Do: o,
		ValidUntil: by.follow.Head().TimeMS/1000 + 20,
	}
	roster, err := state.JointRoster(e.a.genesis.Registry(), o.Banks, o.Asset)
	if err != nil {
		e.Fatal(err)
	}
	frame, r := j.Frame(e.network, roster.Root()), &payment.JoinRequest{Joint: j}
	shares := map[int]cosi.Signature{}
	for _, k := range []*keys{e.a, e.clearing} {
		i, _ := roster.Index(k.self.ID)
		if r.Shares[i], err = k.cosigning.SignRecorded(frame); err != nil {
			e.Fatal(err)
		}
		shares[i] = r.Shares[i]
	}
	answer, err := e.ask(payment.KindJoin, r.Encode())
	if err != nil {
		e.Fatal(err)
	}
	shares[2] = cosi.Signature(answer)
	certificate, blamed, err := roster.Aggregate(frame, shares)
	if err != nil || len(blamed) > 0 {
		e.Fatal(blamed, err)
	}
	e.submit(state.ChannelJoint{Joint: j, Certificate: certificate})
	e.reach(by.follow, func() bool {
		_, err := by.follow.View(j.Channel, nil)
		return err == nil
	})
	return j.Channel
}

// reach waits until the follower is where the test wants it.
func (e *election) reach(f *follow.Follower, there func() bool) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), 20*time.Second)
	defer cancel()
	for changed := f.Changed(); !there(); changed = f.Changed() {
		select {
		case <-changed:
		case <-ctx.Done():
			e.Fatal("the Validator does not follow the chain")
		}
	}
}

// submit hands a transaction to a member, as Bank A.
func (e *election) submit(body state.Body) {
	e.Helper()
	var c memberConfig
	if err := readConfig(e.config("member-1"), &c); err != nil {
		e.Fatal(err)
	}
	k, err := c.Node.load()
	if err != nil {
		e.Fatal(err)
	}
	m, err := submit.Dial("member 1", c.Node.Listen, peer.SPKI(k.self.TLS), e.a.tls)
	if err != nil {
		e.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	out, err := m.Submit(e.Context(), follow.Submission{WaitMS: 10_000, Transaction: state.NewTransaction(body)})
	if err != nil {
		e.Fatal(err)
	}
	e.Logf("member 1: %+v", out)
}

// agreed are terms of which Bank A pays the first leg in DE on the chain to the clearing bank, with the
// signatures of their parties.
func (e *election) agreed() *terms.Proof {
	e.Helper()
	at := func(k *keys) cypherlink.Account {
		return cypherlink.Account{Owner: k.self.ID, Number: ledger.ChannelNumber}
	}
	expiry := time.Now().Unix() + 60
	t := &terms.Terms{
		Network: e.network, Payer: e.a.self.ID, Payee: e.b.self.ID, Connector: e.clearing.self.ID,
		Legs: []terms.Leg{
			{Asset: assetClaim(), Debit: at(e.a), Credit: at(e.clearing), Amount: 10, Expiry: expiry + 10},
			{Asset: assetDE(), Debit: at(e.clearing), Credit: at(e.b), Amount: 10, Expiry: expiry},
		},
		Condition: cypherlink.Preimage{1}.Condition(), Quote: cypherlink.Hash{1}, KYC: cypherlink.Hash{1},
	}
	var err error
	if t.UETR, err = cypherlink.ParseUETR("eb6305c9-1f7f-49de-aed0-16487c27b42d"); err != nil {
		e.Fatal(err)
	}
	roster, err := e.a.genesis.Roster(t.Signers()...)
	if err != nil {
		e.Fatal(err)
	}
	session, err := terms.NewSession(e.network, t.Payer, roster)
	if err != nil {
		e.Fatal(err)
	}
	p := terms.NewProposer(session, terms.Pace{Resend: time.Second, Timeout: time.Minute}, 1)
	effects, err := p.Step(time.Unix(expiry, 0), terms.Submit{Terms: t})
	if err != nil {
		e.Fatal(err)
	}
	for _, ask := range effects.Ask {
		for _, k := range []*keys{e.a, e.b, e.clearing} {
			if k.self.ID != ask.To {
				continue
			}
			answer := &terms.Answer{Sequence: ask.Batch.Sequence}
			if answer.Share, err = k.cosigning.Sign(session.Frame(ask.Batch)); err != nil {
				e.Fatal(err)
			}
			if effects, err = p.Step(time.Unix(expiry, 0), terms.Answered{From: ask.To, Answer: answer}); err != nil {
				e.Fatal(err)
			}
		}
	}
	return effects.Settled[0].Proof
}

// TestAValidatorSeesChannels: it judges both of its assets, lets a channel open, and endorses what the
// chain and its record allow, before and after a restart.
func TestAValidatorSeesChannels(t *testing.T) {
	e := newElection(t)
	proof := e.agreed()
	for leg := range uint8(2) {
		raw, err := e.ask(payment.KindVerdict, (&payment.VerdictRequest{Proof: proof, Leg: leg}).Encode())
		if err != nil {
			t.Fatal(leg, err)
		}
		v, err := payment.DecodeVerdict(raw)
		if err != nil || v.Verdict.Subject.Fields != proof.Terms.Legs[leg] {
			t.Fatal(v, err)
		}
	}
	other, _ := e.a.genesis.Registry().Policy(assetDCEP())
	_, err := e.callers.Call(t.Context(), other.Validators[0], payment.KindVerdict,
		(&payment.VerdictRequest{Proof: proof}).Encode())
	if cypherlink.ErrorCode(err) != rules.CodeAsset {
		t.Fatal(err)
	}
	id := e.opened()
	lock := channels.Lock{
		ID:     channels.LockID(ledger.NewCustodyID(e.network, proof.Terms.Hash(), 0)),
		Amount: 10, Condition: proof.Terms.Condition, Expiry: proof.Terms.Legs[0].Expiry,
	}
	r := &payment.EndorseRequest{Operations: []channels.Operation{lock}}
	u := channels.Update{Channel: id, Prev: cypherlink.Hash(id), Body: channels.BodyRoot(r.Operations)}
	if slot := channels.InOrder([2]cypherlink.ParticipantID{e.a.self.ID, e.clearing.self.ID}); slot[1] == e.a.self.ID {
		u.Lane = channels.B
	}
	u.Seq, u.Locked, u.Locks = 1, 10, channels.LockRoot([]channels.Lock{lock})
	r.Update = chaintest.Sealed(u)
	verdict := validator.Signed{Validator: e.vote.self.ID, Verdict: validator.Verdict{
		Subject: validator.Subject{
			Terms: proof.Terms.Hash(), Fields: proof.Terms.Legs[0], Condition: proof.Terms.Condition,
		},
		ValidUntil: proof.Terms.Legs[0].Expiry, Outcome: validator.Approved,
	}}
	policy, _ := e.a.genesis.Registry().Policy(assetClaim())
	verdict.Verdict.RuleSet = policy.RuleSet
	verdict.Signature, _ = e.vote.identity.Sign(verdict.Verdict.Frame(e.network))
	r.Warrants = []payment.Warrant{{Subject: verdict.Verdict.Subject, Verdicts: []validator.Signed{verdict}}}
	without := *r
	without.Warrants = []payment.Warrant{{Subject: verdict.Verdict.Subject}}
	if _, err := e.ask(payment.KindEndorse, without.Encode()); cypherlink.ErrorCode(err) != channels.V.Code() {
		t.Fatal(err)
	}
	endorsed := func(r *payment.EndorseRequest) {
		t.Helper()
		signature, err := e.ask(payment.KindEndorse, r.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := cosi.VerifyEd25519(e.vote.self.Identity, r.Update.Frame(e.network), [64]byte(signature)); err != nil {
			t.Fatal(err)
		}
	}
	endorsed(r)
	e.stopped(t, folderVoteDE)
	e.started(t, folderVoteDE)
	endorsed(&without) // from its record
	if _, err := e.ask(payment.KindSetup, nil); err == nil {
		t.Error("a Validator answers as a bank")
	}
}

// A Validator judges the assets that its configuration names, and only by the rule set of their policy.
func TestAValidatorOfSomeAssets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	if err := createNetwork(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	var c validatorConfig
	if err := readConfig(filepath.Join(dir, folderVoteDE, configName), &c); err != nil {
		t.Fatal(err)
	}
	k, err := c.Node.load()
	if err != nil {
		t.Fatal(err)
	}
	judges, err := c.judges(k, newDirectory(k.genesis))
	if err != nil || len(judges) != 2 || judges[assetDE()] == nil || judges[assetClaim()] == nil {
		t.Fatal(judges, err)
	}
	c.Assets = nil
	if _, err := c.judges(k, newDirectory(k.genesis)); !errors.Is(err, errConfig) {
		t.Error(err)
	}
	c.Assets = []assetName{{ledgerCypherium, "CNY"}}
	if _, err := c.judges(k, newDirectory(k.genesis)); !errors.Is(err, rules.ErrOptions) {
		t.Error(err)
	}
}
