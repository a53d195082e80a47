package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/payment"
)

// demoCommand plays the main job of the whitepaper on a network of its own.
type demoCommand struct {
	Input      string `help:"Pay by this pacs.008 instead of the built-in one." type:"existingfile" placeholder:"FILE"`
	Out        string `help:"Write payment.xml, status.xml, receipt.json, receipt-channel.json, genesis.json, summary.json here, not into a folder for temporary files." type:"path" placeholder:"DIR"`
	Fail       string `help:"Whoever acts in this step (4 to 13) falls silent just before it, and the channel is not played; bank-b falls silent in the channel, from the middle of its payments on." placeholder:"STEP"`
	Restore    string `help:"bank-b loses its store amid the channel's payments, and goes on with an older copy. Not with --fail." enum:",bank-b" default:"" placeholder:"bank-b"`
	KillLeader bool   `help:"Kill the committee's leader for good while the payment runs."`
	Serve      bool   `help:"Keep the network up afterwards, and say how to call its APIs."`
}

// The bounds of the demonstration's waiting.
const (
	startWithin = 30 * time.Second
	pollEvery   = 10 * time.Millisecond
)

// demo is one performance.
type demo struct {
	command  *demoCommand
	session  *session
	dir      string
	stage    *stage
	director *director
	blocks   *blockWatch
	message  []byte // the pacs.008
	payment  *payment.Payment
	fail     int         // the step before which somebody falls silent, 0 for none
	act      *channelAct // the second job, nil if it is not played
	printing sync.Mutex  // of the session's output: steps are told by whoever takes them
	before   []ledgerBalances
	after    []ledgerBalances
}

// Run plays it.
func (c *demoCommand) Run(s *session) (err error) {
	d := &demo{command: c, session: s}
	if c.Fail != "" && c.Fail != folderB {
		if d.fail, err = strconv.Atoi(c.Fail); err != nil || actorOf(d.fail) == "" {
			return refusal{fmt.Errorf("--fail %s: a party can fall silent before steps 4 to 13, or be bank-b", c.Fail)}
		}
	}
	if c.Fail != "" && c.Restore != "" {
		return refusal{errors.New("--restore goes without --fail: the channel is played once, with one failure")}
	}
	if d.message, err = c.instruction(); err != nil {
		return refusal{err}
	}
	if c.Out != "" { // what cannot be written is not played
		if err := os.MkdirAll(c.Out, dirMode); err != nil {
			return refusal{err}
		}
	}
	if d.dir, err = os.MkdirTemp("", "cypherlink-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	return d.play()
}

// instruction is the pacs.008 to pay by, checked before anything is started.
func (c *demoCommand) instruction() ([]byte, error) {
	if c.Input == "" {
		return sampleMessage(time.Now())
	}
	raw, err := os.ReadFile(c.Input)
	if err != nil {
		return nil, err
	}
	m, err := iso20022.Parse(raw)
	if err == nil {
		err = m.CheckUsage()
	}
	return raw, err
}

func (d *demo) play() (err error) {
	d.director = newDirector(d.fail, d.tell)
	logs, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, fileMode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	d.say("Starting four members, Bank A, Bank B, the clearing bank, two Validators and the DE ledger ...")
	d.stage, err = raise(d.session, d.dir, logs, d.director.watch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stage.stopAll()) }()
	if err := d.perform(); err != nil {
		return err
	}
	if err := d.ended(); err != nil {
		return err
	}
	if d.payment.Status == payment.StatusSettled && d.fail == 0 {
		if err := d.playChannel(); err != nil {
			return err
		}
	}
	if err := d.finish(); err != nil {
		return err
	}
	if err := d.unexpected(); err != nil || !d.command.Serve {
		return err
	}
	return d.serve()
}

// unexpected is why the payment did not settle, if nobody was made silent.
func (d *demo) unexpected() error {
	switch {
	case d.payment.Status == payment.StatusSettled || d.fail != 0:
		return nil
	case d.payment.Status == payment.StatusRejected:
		return refusal{d.payment.Refusal}
	}
	return d.payment.Refusal
}

// serve keeps the network up until the session is ended.
func (d *demo) serve() error {
	if err := writePayments(d.dir); err != nil {
		return err
	}
	env, err := environment(d.dir)
	if err != nil {
		return err
	}
	d.say("\nThe network stays up until it is interrupted. Its folder is %s.\n", d.dir)
	d.say("%s", withoutTap(env))
	call := "curl --tlsv1.3 --cacert $CA_CERT --cert $CLIENT_CERT --key $CLIENT_KEY"
	for _, line := range []string{
		"%s -H 'Content-Type: application/json' -H 'Idempotency-Key: 1' -d @%s/pay.json $API_BANK_A/v1/payments",
		"%s -H 'Content-Type: application/xml' --data-binary @%s/pay.xml $API_BANK_A/v1/iso20022",
	} {
		d.say(line, call, d.dir)
	}
	for _, path := range []string{"", "/events", "/receipt"} {
		d.say("%s $API_BANK_A/v1/payments/%s%s", call, d.payment.UETR, path)
	}
	d.say("%s -H 'Content-Type: application/json' -H 'Idempotency-Key: 2' -d '%s' $API_CLEARING/v1/quotes",
		call, `{"source":{"asset":"DE"},"destination":{"asset":"DC/EP","amount":"2000.00"},"debtor_agent":"CYPADEFFXXX"}`)
	if d.act != nil {
		d.say("%s -H 'Content-Type: application/json' -H 'Idempotency-Key: 3' -d @%s/pay-channel.json "+
			"$API_BANK_B/v1/payments", call, d.dir)
		d.say("%s $API_BANK_B/v1/channels", call)
	}
	select {
	case <-d.session.Done():
		return nil
	case err := <-d.stage.failed:
		return err
	}
}

// withoutTap is an environment without the tap, which a demonstration does not run.
func withoutTap(env string) string {
	var left strings.Builder
	for line := range strings.Lines(env) {
		if !strings.HasPrefix(line, "TAP") && !strings.HasPrefix(line, "PID_TAP=") {
			left.WriteString(line)
		}
	}
	return left.String()
}

func (d *demo) say(format string, args ...any) {
	d.printing.Lock()
	defer d.printing.Unlock()
	fmt.Fprintf(d.session.out, format+"\n", args...)
}

func (d *demo) tell(s step) {
	d.say("%3d  %s  %s\n       evidence %s", s.N, s.At.Format("15:04:05.000"), s.What, s.Evidence)
}

func (d *demo) bank(folder string) (*connectProcess, error) {
	d.stage.mu.Lock()
	defer d.stage.mu.Unlock()
	if on, ok := d.stage.plays[folder]; ok {
		if p, ok := on.process.(*connectProcess); ok {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s does not run", folder)
}

// perform submits the instruction and plays until the payment is final.
func (d *demo) perform() (err error) {
	ctx, cancel := context.WithCancel(d.session)
	defer cancel()
	bank, err := d.bank(folderA)
	if err != nil {
		return err
	}
	view, err := d.observer()
	if err != nil {
		return err
	}
	d.blocks = watchBlocks(ctx, view)
	if d.before, err = d.balances(); err != nil {
		return err
	}
	d.say("")
	if err := d.submit(ctx, bank); err != nil {
		return err
	}
	for !d.payment.Status.Final() {
		select {
		case err := <-d.stage.failed:
			return err
		case folder := <-d.director.silenced:
			if err := d.silence(ctx, folder); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
		if err := d.look(ctx); err != nil {
			return err
		}
	}
	return d.settle(ctx)
}

// submit hands the message in.
func (d *demo) submit(ctx context.Context, bank *connectProcess) error {
	patience, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	a, err := bank.connect.Submit(patience, d.message, payment.XML, "")
	if told, ok := errors.AsType[*cypherlink.Error](err); ok {
		return refusal{told}
	}
	if err != nil {
		select {
		case failed := <-d.stage.failed:
			return errors.Join(err, failed)
		default:
			return err
		}
	}
	d.payment = a.Payment
	if d.payment.Status == payment.StatusRejected {
		return refusal{d.payment.Refusal}
	}
	return nil
}

// look reads how the payment stands, and tells the first three steps from Bank A's own log.
func (d *demo) look(ctx context.Context) error {
	bank, err := d.bank(folderA)
	if err != nil {
		return nil //nolint:nilerr // Bank A is the one that is silent: there is nothing to read
	}
	now, err := bank.connect.Payment(ctx, d.payment.UETR)
	if err != nil {
		return err
	}
	entries, err := bank.connect.Events(ctx, d.payment.UETR)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Kind {
		case "addressed":
			d.director.happened(1, "Bank B gives Bank A a secret and an address for this payment alone", e.Hash.String())
		case "quoted":
			what := "the clearing bank quotes a price"
			if now.Source != nil && now.Destination != nil {
				what = fmt.Sprintf("the clearing bank quotes %s DE for %s DC/EP",
					now.Source.Amount.Format(2), now.Destination.Amount.Format(2))
			}
			d.director.happened(2, what, e.Hash.String())
		case "agreed":
			what := "packet and condition are made; Bank A, Bank B and the clearing bank sign the terms"
			d.director.happened(3, what, now.Terms.String())
			if d.command.KillLeader {
				d.command.KillLeader = false
				if err := d.killLeader(bank); err != nil {
					return err
				}
			}
		}
	}
	d.payment = now
	return nil
}

// killLeader stops the member that leads the view after the last final one, for good.
func (d *demo) killLeader(bank *connectProcess) error {
	head := bank.follow.Head()
	g := bank.keys.genesis.File()
	leader := g.KeyBlock.Members[int(head.View)%len(g.KeyBlock.Members)].ID //nolint:gosec // a small view
	for _, folder := range committee() {
		var c memberConfig
		if err := readConfig(filepath.Join(d.dir, folder, configName), &c); err != nil {
			return err
		}
		k, err := c.Node.load()
		if err != nil {
			return err
		}
		if k.self.ID == leader {
			d.say("     %s is killed for good", k.self.Name)
			return d.stage.stop(folder)
		}
	}
	return fmt.Errorf("no process of leader %s", leader)
}

// silence stops the party that is to be silent, and starts it again: at once if the preimage
// is out, otherwise when both custodies' times have passed.
func (d *demo) silence(ctx context.Context, folder string) error {
	d.say("     %s falls silent before step %d", folder, d.fail)
	if err := d.stage.stop(folder); err != nil {
		return err
	}
	away := time.Second
	if d.fail <= 10 {
		away = sourceHold + time.Second
		d.say("     it comes back after %s, when the timeouts have passed", away)
	}
	select {
	case <-time.After(away):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	d.director.lift()
	err := d.stage.start(ctx, folder)
	d.say("     %s is back", folder)
	return err
}

// settle waits until Bank B and the clearing bank know the end too, and takes the balances.
func (d *demo) settle(ctx context.Context) (err error) {
	deadline := time.Now().Add(startWithin)
	for {
		if d.after, err = d.balances(); err != nil {
			return err
		}
		told := len(d.director.all())
		if d.payment.Status != payment.StatusSettled || told == steps {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d steps were seen", told, steps)
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ended says how the main job has ended, and which blocks were final by then.
func (d *demo) ended() error {
	d.say("")
	d.say("Payment %s is %s.", d.payment.UETR, d.payment.Status)
	if d.payment.Refusal != nil {
		d.say("Reason: %s", d.payment.Refusal.Message)
	}
	d.printBalances()
	blocks, err := d.blocks.all()
	if err != nil {
		return err
	}
	d.say("")
	d.say("Blocks that became final meanwhile: %d", len(blocks))
	for _, b := range blocks {
		d.say("  height %3d  view %3d  final after %4d ms  signed by %d of %d", b.Height, b.View, b.FinalityMS, b.Signers, members)
	}
	return nil
}

// finish writes the files.
func (d *demo) finish() error {
	blocks, err := d.blocks.all()
	if err != nil {
		return err
	}
	out := d.command.Out
	if out == "" {
		if out, err = os.MkdirTemp("", "cypherlink-proof-"); err != nil {
			return err
		}
	}
	return d.write(out, blocks)
}

// replaceFiles writes the files. A receipt of an earlier performance, which this one has none of, goes.
func replaceFiles(dir string, files map[string][]byte) error {
	for _, name := range receiptNames() {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, fileMode); err != nil {
			return err
		}
	}
	return nil
}

// receiptNames are the files of the receipts of the two jobs.
func receiptNames() []string { return []string{"receipt.json", "receipt-channel.json"} }

// write makes the files, and says where the proof lies.
func (d *demo) write(dir string, blocks []blockSummary) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	bank, err := d.bank(folderA)
	if err != nil {
		return err
	}
	files := map[string][]byte{"payment.xml": d.message}
	if files[genesisName], err = os.ReadFile(filepath.Join(d.dir, genesisName)); err != nil {
		return err
	}
	if files["status.xml"], err = bank.connect.Status002(d.session, d.payment.UETR); err != nil {
		return err
	}
	if d.payment.Status == payment.StatusSettled {
		if files["receipt.json"], err = bank.connect.Receipt(d.session, d.payment.UETR); err != nil {
			return err
		}
	}
	if d.act != nil {
		uetr := d.act.payments[0].uetr
		if files["receipt-channel.json"], err = bank.connect.Receipt(d.session, uetr); err != nil {
			return err
		}
	}
	summary, err := json.MarshalIndent(d.summary(blocks), "", "  ")
	if err != nil {
		return err
	}
	files["summary.json"] = append(summary, '\n')
	if err := replaceFiles(dir, files); err != nil {
		return err
	}
	d.say("\nMessages and summary lie in %s.", dir)
	genesis := filepath.Join(dir, genesisName)
	for _, name := range receiptNames() {
		if _, ok := files[name]; ok {
			receipt := filepath.Join(dir, name)
			d.say("\nThe proof lies in %s. Anybody can check it, offline:\n  cypherlink verify --genesis %s %s",
				receipt, genesis, receipt)
		}
	}
	return nil
}
