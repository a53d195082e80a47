//go:build integration

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/internal/hold"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// The bounds of the test with separate processes.
const (
	killsTake     = 45 * time.Second // for which processes are killed
	killsTakeLess = 12 * time.Second // the same under -short
	inFlight      = 8                // payments at a time
	mostPayments  = 300              // during the kills
	readyWithin   = 30 * time.Second
	endsWithin    = 75 * time.Second // after the last kill: both custodies' times, and a return
	startAttempts = 5
)

// TestPaymentsSurviveKilledProcesses runs every process of a network by itself, with Apache Kafka
// and PostgreSQL, and kills them at random while payments of both jobs run: across the ledgers, and
// over the banks' channel in both directions. In the end every payment is final, an audit finds no
// difference, and what moved is what was settled, once each.
func TestPaymentsSurviveKilledProcesses(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CYPHERLINK_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	n := newNetwork(t, seed)
	for _, folder := range everybody() {
		n.start(folder)
	}
	for _, folder := range everybody() {
		n.ready(folder)
	}
	n.openChannel()
	long := killsTake
	if testing.Short() {
		long = killsTakeLess
	}
	n.payWhile(func() { n.killFor(long) })
	n.payAfter()
	n.awaitPayee()
	n.stop()
	n.check()
}

// network is one of separate processes.
type network struct {
	*testing.T
	dir, binary string
	seed        uint64
	random      *mathrand.Rand // of the killer
	client      *http.Client
	api         map[string]string // by folder
	databases   []string          // DSNs

	running map[string]*child // of the killer's goroutine
	kills   map[string]int

	mu       sync.Mutex
	payments map[string]*sent // by idempotency key
	failed   chan error       // a process that ended by itself
}

// child is one process.
type child struct {
	command *exec.Cmd
	ended   chan struct{}
	err     error // of Wait, once ended is closed
}

// sent is one payment as its sender knows it: every other one goes over the channel, half of these
// from Bank B.
type sent struct {
	number      int
	from, to    string            // folders
	overChannel bool              // in DE.C
	amount      cypherlink.Amount // of DC/EP or DE.C
	uetr        string
	last        api.Payment
}

func newSent(number int) *sent {
	p := &sent{
		number: number, from: folderA, to: folderB, amount: cypherlink.Amount(200_000 + number),
		overChannel: number%2 == 1,
	}
	if number%4 == 3 {
		p.from, p.to = folderB, folderA
	}
	if p.overChannel {
		p.amount = cypherlink.Amount(10_000 + number)
	}
	return p
}

// body is the instruction.
func (p *sent) body(key string) string {
	if p.overChannel {
		return strings.NewReplacer("100.00", p.amount.Format(2), "TREASURY-0001", key).Replace(sampleChannelPayment)
	}
	return strings.NewReplacer("2000.00", p.amount.Format(2), "LAPTOP-0001", key).Replace(samplePayment)
}

// ended tells whether the payment never changes any more.
func (p *sent) ended() bool {
	if p.overChannel {
		return over(payment.Status(p.last.Status))
	}
	return p.last.Final
}

// paid tells whether the payee has the money.
func (p *sent) paid() bool {
	if p.overChannel {
		return p.last.Status == string(payment.StatusCompleted)
	}
	return p.last.Status == string(payment.StatusSettled)
}

// openChannel has the banks open their channel, as an operator does.
func (n *network) openChannel() {
	n.Helper()
	ctx, cancel := context.WithTimeout(n.Context(), readyWithin)
	defer cancel()
	banks, err := restBanks(n.dir, actorA(), actorB())
	if err == nil {
		_, err = openChannel(ctx, banks[0], banks[1], n.Logf)
		banks[0].http.CloseIdleConnections()
	}
	if err != nil {
		n.Fatal(err)
	}
}

func newNetwork(t *testing.T, seed uint64) *network {
	t.Helper()
	n := &network{
		T: t, dir: filepath.Join(t.TempDir(), "net"), seed: seed,
		random: mathrand.New(mathrand.NewPCG(seed, 0)), api: map[string]string{},
		running: map[string]*child{}, kills: map[string]int{}, payments: map[string]*sent{},
		failed: make(chan error, 1),
	}
	n.binary = filepath.Join(t.TempDir(), "cypherlink")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", n.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := createNetwork(t.Context(), n.dir); err != nil {
		t.Fatal(err)
	}
	n.configure()
	tls, err := tlsFiles{
		Cert: path(filepath.Join(n.dir, "client.pem")), Key: path(filepath.Join(n.dir, "client.key")),
		CA: path(filepath.Join(n.dir, "ca.pem")),
	}.config()
	if err != nil {
		t.Fatal(err)
	}
	n.client = &http.Client{Transport: &http.Transport{TLSClientConfig: tls}, Timeout: 10 * time.Second}
	t.Cleanup(func() {
		n.client.CloseIdleConnections()
		for _, c := range n.running {
			_ = c.command.Process.Kill() // what has ended cannot be killed
			<-c.ended
		}
		if t.Failed() {
			n.explain()
		}
	})
	return n
}

// configure puts Apache Kafka and PostgreSQL into the configurations.
func (n *network) configure() {
	n.Helper()
	broker := os.Getenv("CYPHERLINK_TEST_KAFKA")
	if broker == "" {
		n.Fatal("CYPHERLINK_TEST_KAFKA is not set: start a broker with deploy/test/kafka.sh")
	}
	id := strings.ToLower(rand.Text())
	kafka := kafkaConfig{Bootstrap: broker, Commands: "commands-" + id, Events: "events-" + id}
	var operator ledgerConfig
	n.reconfigure(folderLedger, &operator, func() {
		operator.Embedded, operator.Kafka, operator.Store = false, kafka, n.database()
	})
	for _, folder := range []string{folderA, folderB} {
		var bank connectConfig
		n.reconfigure(folder, &bank, func() { bank.Kafka, bank.Store = kafka, n.database() })
		n.api[folder] = "https://" + bank.API.Listen
	}
	var clearing connectorConfig
	n.reconfigure(folderClearing, &clearing, func() { clearing.Kafka, clearing.Store = kafka, n.database() })
}

func (n *network) reconfigure(folder string, c any, change func()) {
	n.Helper()
	name := filepath.Join(n.dir, folder, configName)
	if err := readConfig(name, c); err != nil {
		n.Fatal(err)
	}
	change()
	if err := writeConfig(name, c); err != nil {
		n.Fatal(err)
	}
}

// database makes a fresh PostgreSQL database that is dropped after the test.
func (n *network) database() string {
	n.Helper()
	server := os.Getenv("CYPHERLINK_TEST_POSTGRES")
	if server == "" {
		n.Fatal("CYPHERLINK_TEST_POSTGRES is not set: start a server with deploy/test/postgres.sh")
	}
	dsn, err := url.Parse(server)
	if err != nil {
		n.Fatal(err)
	}
	name := "t" + strings.ToLower(rand.Text())
	admin := func(ctx context.Context, statement string) error {
		db, err := sql.Open("postgres", server)
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, statement)
		return errors.Join(err, db.Close())
	}
	err = admin(n.Context(), "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() {
		if err := admin(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			n.Error(err)
		}
	})
	dsn.Path = "/" + name
	n.databases = append(n.databases, dsn.String())
	return dsn.String()
}

// start starts a process.
func (n *network) start(folder string) {
	n.Helper()
	home := filepath.Join(n.dir, folder)
	log, err := os.OpenFile(filepath.Join(home, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, fileMode)
	if err != nil {
		n.Fatal(err)
	}
	c := &child{ended: make(chan struct{})}
	c.command = exec.CommandContext(n.Context(), n.binary, subcommand(folder), "--config", filepath.Join(home, configName))
	c.command.Stdout, c.command.Stderr = log, log
	if err := c.command.Start(); err != nil {
		n.Fatal(err)
	}
	go func() {
		c.err = errors.Join(c.command.Wait(), log.Close())
		close(c.ended)
	}()
	n.running[folder] = c
}

// ready waits until a process does its work. One that ends before, such as for a port that
// somebody else has for a moment, is started again, as whoever supervises it would do.
func (n *network) ready(folder string) {
	n.Helper()
	deadline := time.Now().Add(readyWithin)
	for attempts := 1; ; {
		c := n.running[folder]
		told, err := os.ReadFile(filepath.Join(n.dir, folder, hold.ReadyName))
		if err == nil && strings.TrimSpace(string(told)) == strconv.Itoa(c.command.Process.Pid) {
			return
		}
		select {
		case <-c.ended:
			if attempts++; attempts > startAttempts {
				n.Fatalf("%s does not start: %v", folder, c.err)
			}
			n.Logf("%s ended before it was ready: %v", folder, c.err)
			n.start(folder)
		case <-time.After(pollEvery):
		}
		if time.Now().After(deadline) {
			n.Fatalf("%s is not ready", folder)
		}
	}
}

// kill ends a process as a power failure does.
func (n *network) kill(folder string) {
	n.Helper()
	c := n.running[folder]
	select {
	case <-c.ended:
		n.Errorf("%s ended by itself: %v", folder, c.err)
	default:
	}
	if err := c.command.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.Fatal(err)
	}
	<-c.ended
	n.kills[folder]++
}

// victims are who is killed next: mostly one, sometimes two at once. Two members leave no quorum.
func (n *network) victims() []string {
	all := everybody()
	victims := []string{all[n.random.IntN(len(all))]}
	if n.random.IntN(3) == 0 {
		if other := all[n.random.IntN(len(all))]; other != victims[0] {
			victims = append(victims, other)
		}
	}
	return victims
}

// killFor kills processes and starts each again within about a second.
func (n *network) killFor(long time.Duration) {
	n.Helper()
	for deadline := time.Now().Add(long); time.Now().Before(deadline); {
		victims := n.victims()
		for _, folder := range victims {
			n.kill(folder)
		}
		<-time.After(time.Duration(n.random.IntN(1000)) * time.Millisecond)
		for _, folder := range victims {
			n.start(folder)
		}
		for _, folder := range victims {
			n.ready(folder)
		}
		<-time.After(time.Duration(n.random.IntN(800)) * time.Millisecond)
	}
}

// payWhile sends payments, some at a time, until the deed is done, and waits until they are
// final.
func (n *network) payWhile(deed func()) {
	n.Helper()
	ctx, cancel := context.WithCancel(n.Context())
	numbers := make(chan int)
	var senders sync.WaitGroup
	defer senders.Wait()
	defer cancel()
	for range inFlight {
		senders.Go(func() {
			for number := range numbers {
				n.pay(ctx, number)
			}
		})
	}
	done := make(chan struct{})
	senders.Go(func() {
		defer close(numbers)
		for number := range mostPayments {
			select {
			case numbers <- number:
			case <-done:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	deed()
	close(done)
	n.await(&senders, cancel)
	n.Logf("seed %d: killed %v; payments %v", n.seed, n.kills, n.statuses())
}

// payAfter sends payments when nothing is killed any more: they are settled.
func (n *network) payAfter() {
	n.Helper()
	ctx, cancel := context.WithCancel(n.Context())
	var senders sync.WaitGroup
	defer senders.Wait()
	defer cancel()
	var all []*sent
	var mu sync.Mutex
	for i := range inFlight {
		senders.Go(func() {
			p := n.pay(ctx, mostPayments+i)
			mu.Lock()
			all = append(all, p)
			mu.Unlock()
		})
	}
	n.await(&senders, cancel)
	for _, p := range all {
		if !p.paid() {
			n.Errorf("payment %d is %s after the kills: %s", p.number, p.last.Status, p.last.Reason)
		}
	}
}

// await waits until all payments that were sent are final.
func (n *network) await(senders *sync.WaitGroup, cancel func()) {
	n.Helper()
	ended := make(chan struct{})
	go func() { senders.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(endsWithin):
		cancel()
		<-ended
		n.Fatalf("payments are not final: %v", n.statuses())
	}
}

func (n *network) statuses() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string]int{}
	for _, p := range n.payments {
		all[p.last.Status]++
	}
	return all
}

// pay sends one payment until the bank has taken it, and follows it to its end. Every attempt has
// the same key: it is one payment.
func (n *network) pay(ctx context.Context, number int) *sent {
	p := newSent(number)
	key := fmt.Sprintf("payment-%d", number)
	n.mu.Lock()
	n.payments[key] = p
	n.mu.Unlock()
	for p.uetr == "" || !p.ended() {
		if status, err := n.attempt(ctx, p, key, p.body(key)); err != nil {
			n.Errorf("payment %d: %d, %v", number, status, err)
			return p
		}
		select {
		case <-time.After(5 * pollEvery):
		case <-ctx.Done():
			return p
		}
	}
	return p
}

// attempt sends the payment or asks for it. That nobody answers is no error.
func (n *network) attempt(ctx context.Context, p *sent, key, body string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.api[p.from]+"/v1/payments/"+p.uetr, nil)
	if p.uetr == "" {
		request, err = http.NewRequestWithContext(ctx, http.MethodPost,
			n.api[p.from]+"/v1/payments", strings.NewReader(body))
	}
	if err != nil {
		return 0, err
	}
	if p.uetr == "" {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", key)
	}
	answer, status, err := n.ask(request)
	switch {
	case err != nil, status >= http.StatusInternalServerError, status == http.StatusTooManyRequests:
		return status, nil // killed, or not ready yet
	case status != http.StatusOK && status != http.StatusAccepted:
		return status, errors.New(string(answer))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	before := p.uetr
	if err := json.Unmarshal(answer, &p.last); err != nil {
		return status, err
	}
	if p.uetr = p.last.UETR; before != "" && before != p.uetr {
		return status, fmt.Errorf("it was %s and became %s", before, p.uetr)
	}
	return status, nil
}

func (n *network) ask(request *http.Request) (body []byte, status int, err error) {
	answer, err := n.client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	body, err = io.ReadAll(answer.Body)
	return body, answer.StatusCode, errors.Join(err, answer.Body.Close())
}

// awaitPayee waits until the paid bank too calls every settled payment settled, or completed.
func (n *network) awaitPayee() {
	n.Helper()
	ctx, cancel := context.WithTimeout(n.Context(), readyWithin)
	defer cancel()
	for key, p := range n.payments {
		for p.paid() {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.api[p.to]+"/v1/payments/"+p.uetr, nil)
			if err != nil {
				n.Fatal(err)
			}
			var incoming api.Payment
			answer, status, err := n.ask(request)
			if err == nil && status == http.StatusOK {
				err = json.Unmarshal(answer, &incoming)
			}
			there := sent{overChannel: p.overChannel, last: incoming}
			if err == nil && there.paid() {
				break
			}
			select {
			case <-time.After(5 * pollEvery):
			case <-ctx.Done():
				n.Fatalf("%s is %s at %s, and at %s %d %s (%v)", key, p.last.Status, p.from, p.to, status, incoming.Status, err)
			}
		}
	}
}

// stop ends all processes as an operator does.
func (n *network) stop() {
	n.Helper()
	for _, folder := range slices.Backward(everybody()) {
		c := n.running[folder]
		if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
			n.Errorf("%s ended by itself: %v, %v", folder, err, c.err)
		}
		select {
		case <-c.ended:
			if c.err != nil {
				n.Errorf("%s ends with %v", folder, c.err)
			}
		case <-time.After(readyWithin):
			n.Errorf("%s does not end", folder)
		}
	}
}

// check audits the stores, and compares what moved with what was settled.
func (n *network) check() {
	n.Helper()
	opened := n.opened()
	code, out := audited(n.T, n.dir)
	n.Log("\n" + out)
	if code != 0 {
		n.Errorf("audit: exit %d", code)
	}
	if after := n.opened(); after != opened {
		n.Errorf("the audit opened a store itself: %s, before %s", after, opened)
	}
	a, err := newAudit(n.dir)
	if err != nil {
		n.Fatal(err)
	}
	defer func() {
		if err := a.close(); err != nil {
			n.Error(err)
		}
	}()
	a.read(n.Context())
	stored := 0
	for _, r := range a.records {
		if r.direction == payment.Out {
			stored++
		}
	}
	if stored != len(n.payments) {
		n.Errorf("%d payments were sent, the banks have %d", len(n.payments), stored)
	}
	settled, completed := 0, 0
	var source, destination cypherlink.Amount
	for _, p := range n.payments {
		switch {
		case !p.paid():
		case p.overChannel:
			completed++
		default:
			settled++
			source += (p.amount+1)/2 + 100 // at two for one, rounded against the payer, and the fee
			destination += p.amount
		}
	}
	if settled <= inFlight/2 || completed <= inFlight/2 {
		n.Errorf("%d payments were settled and %d completed: the kills left none", settled, completed)
	}
	ramp, err := cypherlink.ParseAmount(crossed, assetDE().Scale)
	if err != nil {
		n.Fatal(err)
	}
	want := map[string]cypherlink.Amount{
		folderA + " DE": openingADE - source - ramp, folderClearing + " DE": openingClearingDE + source,
		folderB + " DE": openingBDE - ramp, folderA + " DC/EP": 0,
		folderClearing + " DC/EP": openingClearingDCEP - destination, folderB + " DC/EP": destination,
	}
	for place, has := range n.balances(a) {
		if has != want[place] {
			n.Errorf("%s has %d, with %d payments settled it should have %d", place, has, settled, want[place])
		}
	}
}

// opened is how often each PostgreSQL store was opened, by itself.
func (n *network) opened() string {
	n.Helper()
	var all []string
	for _, dsn := range n.databases {
		db, err := sql.Open("postgres", dsn)
		if err != nil {
			n.Fatal(err)
		}
		var number string
		if err := db.QueryRowContext(n.Context(), "SELECT number FROM incarnation").Scan(&number); err != nil {
			n.Fatal(err)
		}
		if err := db.Close(); err != nil {
			n.Fatal(err)
		}
		all = append(all, number)
	}
	return strings.Join(all, ", ")
}

// balances are what the institutions have, by folder and the asset's label.
func (n *network) balances(a *audit) map[string]cypherlink.Amount {
	n.Helper()
	folders := map[cypherlink.ParticipantID]string{}
	for _, p := range a.genesis.File().Participants {
		for _, who := range cast() {
			if who.name == p.Name {
				folders[p.ID] = who.folder
			}
		}
	}
	labels := map[cypherlink.Asset]string{assetDE(): labelDE, assetDCEP(): labelDCEP}
	all := map[string]cypherlink.Amount{}
	for _, l := range a.ledger {
		for _, b := range l.balances {
			if label, ok := labels[b.Asset]; ok && b.Account.Number != ledger.EscrowNumber {
				all[folders[b.Account.Owner]+" "+label] = b.Amount
			}
		}
	}
	if len(all) != 6 {
		n.Errorf("balances of %v", all)
	}
	return all
}

// explain shows what a failure needs: the seed, and what every process said last.
func (n *network) explain() {
	n.Logf("CYPHERLINK_TEST_SEED=%d", n.seed)
	for _, p := range n.payments {
		if !p.ended() {
			n.Logf("payment %d, %s: %s", p.number, p.uetr, p.last.Status)
		}
	}
	for _, folder := range everybody() {
		raw, err := os.ReadFile(filepath.Join(n.dir, folder, "log"))
		if err != nil {
			n.Log(err)
			continue
		}
		lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
		lines = lines[max(0, len(lines)-12):]
		n.Logf("%s, killed %d times:\n%s", folder, n.kills[folder], bytes.Join(lines, []byte("\n")))
	}
}
