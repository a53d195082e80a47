package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// lock holds back commands to ledgers, some at one bank and some at another, until it is opened.
type lock struct {
	mu   sync.Mutex
	shut map[string]bool // by folder and kind of command
	held chan string     // what was held back, without its repetitions
	seen map[string]bool
}

func newLock() *lock {
	return &lock{shut: map[string]bool{}, seen: map[string]bool{}, held: make(chan string, 16)}
}

func (k *lock) set(what string, shut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.shut[what], k.seen[what] = shut, false
}

// holds tells whether the command stays where it is.
func (k *lock) holds(what string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shut[what] && !k.seen[what] {
		k.seen[what] = true
		k.held <- what
	}
	return k.shut[what]
}

// locked is a ledger behind the lock.
type locked struct {
	ledger.Ledger
	lock   *lock
	folder string
}

// Submit implements ledger.Ledger.
func (l *locked) Submit(ctx context.Context, c *ledger.SignedCommand) (ledger.Receipt, error) {
	if l.lock.holds(fmt.Sprintf("%s %T on %s", l.folder, c.Command, c.Ledger)) {
		return ledger.Receipt{}, errSilent
	}
	return l.Ledger.Submit(ctx, c)
}

// Cross implements ledger.Ramp.
func (l *locked) Cross(ctx context.Context, c *ledger.SignedCommand) (ledger.Passage, error) {
	return l.Ledger.(ledger.Ramp).Cross(ctx, c)
}

func (k *lock) watch(folder string, l ledger.Ledger) ledger.Ledger { return &locked{l, k, folder} }

// waits until something of that kind is held back.
func (k *lock) waits(t *testing.T, what string) {
	t.Helper()
	select {
	case got := <-k.held:
		if got != what {
			t.Fatalf("%s is held back, want %s", got, what)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is held back: ", what)
	}
}

// bankOf is the process of a bank.
func bankOf(t *testing.T, s *stage, folder string) *connectProcess {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	bank, ok := s.plays[folder].process.(*connectProcess)
	if !ok {
		t.Fatalf("%s does not run", folder)
	}
	return bank
}

// decided is a change about Bank B that the scheme's authority has signed: "suspend" or "resume".
func (a *scribe) decided(what string) (file string) {
	a.t.Helper()
	file = filepath.Join(a.t.TempDir(), what+".json")
	a.registry(0, "draft", what, "Bank B", "--out", file)
	a.registry(0, "sign", file)
	return file
}

// counts hands a change in, and waits until both banks and the Validators have it.
func (a *scribe) counts(s *stage, file string) {
	a.t.Helper()
	followers := []*follow.Follower{bankOf(a.t, s, folderA).follow, bankOf(a.t, s, folderB).follow}
	for _, folder := range []string{folderVoteDE, folderVoteDCEP} {
		followers = append(followers, s.plays[folder].process.(*validatorProcess).follow)
	}
	before := followers[0].Registry().Version()
	a.registry(0, "submit", file)
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	err := until(ctx, "the registry has changed", func() (bool, error) {
		return !slices.ContainsFunc(followers, func(f *follow.Follower) bool {
			return f.Registry().Version() == before
		}), nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// flow are payments over the channel, from both banks, as they were handed in.
type flow struct {
	t    *testing.T
	s    *stage
	mu   sync.Mutex
	sent []flowed
}

type flowed struct {
	from   string
	amount cypherlink.Amount
	uetr   cypherlink.UETR
}

// pay hands a payment in at a bank.
func (f *flow) pay(folder string) flowed {
	f.mu.Lock()
	n := len(f.sent)
	p := flowed{from: folder, amount: cypherlink.Amount(1_00 + n)}
	f.sent = append(f.sent, p)
	f.mu.Unlock()
	key := fmt.Sprint("flow-", n)
	body := strings.NewReplacer("100.00", p.amount.Format(2), "TREASURY-0001", key).Replace(sampleChannelPayment)
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	defer cancel()
	a, err := bankOf(f.t, f.s, folder).connect.Submit(ctx, []byte(body), payment.JSON, key)
	if err != nil {
		f.t.Error(err)
		return p
	}
	p.uetr = a.Payment.UETR
	f.mu.Lock()
	f.sent[n] = p
	f.mu.Unlock()
	return p
}

// flows waits until so many of the payments are completed.
func (f *flow) flows(many int) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	err := until(ctx, "payments flow", func() (bool, error) {
		f.mu.Lock()
		sent := slices.Clone(f.sent)
		f.mu.Unlock()
		completed := 0
		for _, p := range sent {
			if p.uetr == (cypherlink.UETR{}) {
				continue
			}
			now, err := bankOf(f.t, f.s, p.from).connect.Payment(ctx, p.uetr)
			if err != nil {
				return false, err
			}
			if now.Status == payment.StatusCompleted {
				completed++
			}
		}
		return completed >= many, nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// ends waits until a payment never changes any more.
func (f *flow) ends(p flowed) *payment.Payment {
	f.t.Helper()
	now, err := f.awaits(p)
	if err != nil {
		f.t.Fatal(now, err)
	}
	return now
}

func (f *flow) awaits(p flowed) (now *payment.Payment, err error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	bank := bankOf(f.t, f.s, p.from)
	err = until(ctx, "payment "+p.uetr.String(), func() (_ bool, err error) {
		now, err = bank.connect.Payment(ctx, p.uetr)
		return err == nil && over(now.Status), err
	})
	return now, err
}

// tally waits until all have ended, and tells what a bank has gained, and how many have ended how: completed,
// or rejected since a bank is suspended.
func (f *flow) tally(bank string) (net cypherlink.Amount, count map[payment.Status]int) {
	f.t.Helper()
	count = map[payment.Status]int{}
	for _, p := range f.sent {
		now := f.ends(p)
		count[now.Status]++
		if now.Status == payment.StatusCompleted {
			if net += p.amount; p.from == bank {
				net -= 2 * p.amount
			}
		} else if now.Status != payment.StatusRejected || now.Refusal.Reason != "AG10" {
			f.t.Errorf("payment from %s is %s: %v", p.from, now.Status, now.Refusal)
		}
	}
	return net, count
}

// Bank B is suspended by the scheme's authorities while payments are under way: over the channel in both
// directions, and across the ledgers, one of which it has only to confirm and one of which it is yet to be
// paid on the chain. What was signed in the channel settles, what was not is refused by rule V; what it can
// confirm it does; in its favour nothing is prepared any more, and the payer has the money back (decision 14).
// Active again it goes on where it was; suspended again it may close the channel, and all balances add up.
func TestABankIsSuspendedAmidPayments(t *testing.T) {
	t.Parallel()
	k := newLock()
	s, dir := raised(t, through(k.watch))
	banks, err := restBanks(dir, actorA(), actorB())
	if err != nil {
		t.Fatal(err)
	}
	defer banks[0].http.CloseIdleConnections()
	opening, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	channel, err := openChannel(opening, banks[0], banks[1], t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	const confirm, prepare = folderB + " *ledger.Confirm on cypherium", folderClearing + " *ledger.Prepare on cypherium"
	k.set(confirm, true)
	one := paid(t, s, samplePayment, payment.StatusReserved)
	k.waits(t, confirm)
	k.set(prepare, true)
	other := paid(t, s, strings.ReplaceAll(samplePayment, "2000.00", "40.00"), payment.StatusReserved)
	k.waits(t, prepare)

	authority := &scribe{t, dir}
	suspended := authority.decided("suspend")
	f := &flow{t: t, s: s}
	stop := make(chan struct{})
	var payers sync.WaitGroup
	for _, folder := range []string{folderA, folderA, folderB, folderB} {
		payers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if now, err := f.awaits(f.pay(folder)); err != nil {
					t.Error(now, err)
					return
				}
			}
		})
	}
	f.flows(16)
	b := bankOf(t, s, folderB)
	authority.counts(s, suspended)
	late := []flowed{f.pay(folderA), f.pay(folderB)}
	close(stop)
	payers.Wait()
	k.set(confirm, false)
	k.set(prepare, false)

	net, count := f.tally(folderB)
	t.Log(count)
	if count[payment.StatusCompleted] == 0 || count[payment.StatusRejected] < 2 {
		t.Errorf("payments over the channel: %v", count)
	}
	for _, p := range late {
		if now := f.ends(p); now.Status != payment.StatusRejected || now.Refusal.Code != channels.V.Code() {
			t.Errorf("after the suspension, from %s: %s, %v", p.from, now.Status, now.Refusal)
		}
	}
	a := bankOf(t, s, folderA)
	for uetr, want := range map[cypherlink.UETR]payment.Status{one: payment.StatusSettled, other: payment.StatusRejected} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var now *payment.Payment
		err := until(ctx, "payment "+uetr.String(), func() (_ bool, err error) {
			now, err = a.connect.Payment(ctx, uetr)
			return err == nil && now.Status.Final(), err
		})
		cancel()
		if err != nil || now.Status != want {
			t.Errorf("across the ledgers: %s, %v, want %s: %v", now.Status, now.Refusal, want, err)
		}
	}
	authority.counts(s, authority.decided("resume"))
	for folder, way := range map[string]cypherlink.Amount{folderA: 1, folderB: -1} {
		p := f.pay(folder)
		if now := f.ends(p); now.Status != payment.StatusCompleted {
			t.Errorf("active again, from %s: %s, %v", folder, now.Status, now.Refusal)
		}
		net += way * p.amount
	}
	authority.counts(s, authority.decided("suspend"))
	closed(t, channel, banks[1], banks[0])
	for folder, want := range map[string]cypherlink.Amount{folderA: 50_000_00 - net, folderB: 50_000_00 + net} {
		account := cypherlink.Account{Owner: bankOf(t, s, folder).keys.self.ID}
		if got, _, err := a.follow.Balance(account, assetClaim()); err != nil || got != want {
			t.Errorf("%s has %d of %s, want %d, %v", folder, got, labelClaim, want, err)
		}
	}
	got, _, err := a.follow.Balance(cypherlink.Account{Owner: b.keys.self.ID}, assetDCEP())
	if err != nil || got != 2000_00 {
		t.Errorf("Bank B has %d of %s, %v", got, labelDCEP, err)
	}
	agrees(t, s, dir, "No difference.")
}

// closed has a bank close a channel, and waits until both say that it is.
func closed(t *testing.T, channel string, by, other *restBank) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if err := by.post(ctx, "/v1/channels/"+channel+"/close", "close", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	err := until(ctx, "the channel is closed", func() (bool, error) {
		for _, bank := range []*restBank{by, other} {
			if c, err := bank.channel(ctx, channel); err != nil || c.State != "CLOSED" {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
