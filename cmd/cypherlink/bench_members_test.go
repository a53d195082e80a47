package main

import (
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// keysIn loads the keys of a folder's process.
func keysIn[C any](b *testing.B, dir, folder string, in func(c *C) node) *keys {
	b.Helper()
	var c C
	if err := readConfig(filepath.Join(dir, folder, configName), &c); err != nil {
		b.Fatal(err)
	}
	k, err := in(&c).load()
	if err != nil {
		b.Fatal(err)
	}
	return k
}

func memberNode(c *memberConfig) node       { return c.Node }
func bankNode(c *connectConfig) node        { return c.Node }
func clearingNode(c *connectorConfig) node  { return c.Node }
func validatorNode(c *validatorConfig) node { return c.Node }

// BenchmarkFourProcesses is the chain alone with each member as a process of its own, everything
// on: custodies with a verdict, prepared and confirmed. One operation is one command.
func BenchmarkFourProcesses(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "cypherlink")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, inFlight := range []int{1, 32, 512} {
		b.Run(fmt.Sprintf("in_flight=%d", inFlight), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "net")
			if err := createNetwork(b.Context(), dir); err != nil {
				b.Fatal(err)
			}
			load := member.Load{InFlight: inFlight, Pair: pairs(b, dir)}
			bank := keysIn(b, dir, folderA, bankNode)
			for _, folder := range committee() {
				startProcess(b, binary, dir, folder)
				k := keysIn(b, dir, folder, memberNode)
				client, err := peer.Dial(addressOf(b, dir, k.self.ID), peer.SPKI(k.self.TLS), bank.tls, follow.Wire())
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = client.Close() })
				load.Clients = append(load.Clients, client)
			}
			if _, err := load.Run(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
			first := load.Pair
			load.Pair = func(i int) (prepare, confirm *ledger.SignedCommand) { return first(i + 1) }
			b.ResetTimer()
			r, err := load.Run(b.Context(), (b.N+1)/2)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(r.PerSecond(), "tx/s")
			b.ReportMetric(float64(r.Latency.Quantile(50)), "p50-ms")
			b.ReportMetric(float64(r.Latency.Quantile(99)), "p99-ms")
		})
	}
}

// subcommand runs the process of a folder.
func subcommand(folder string) string {
	switch folder {
	case folderLedger:
		return "ledger"
	case folderA, folderB:
		return "connect"
	case folderClearing:
		return "connector"
	case folderVoteDE, folderVoteDCEP:
		return "validator"
	}
	return "member"
}

// startProcess starts a process until the benchmark ends.
func startProcess(b *testing.B, binary, dir, folder string) {
	b.Helper()
	c := exec.CommandContext(b.Context(), binary, subcommand(folder), "--config", filepath.Join(dir, folder, configName))
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it says that it was killed
	})
}

// addressOf is where a participant listens, as Bank A knows it.
func addressOf(b *testing.B, dir string, id cypherlink.ParticipantID) string {
	b.Helper()
	var c connectConfig
	if err := readConfig(filepath.Join(dir, folderA, configName), &c); err != nil {
		b.Fatal(err)
	}
	return c.Node.Peers[id]
}

// pairs makes custodies of one minor unit of DC/EP, from the clearing bank to Bank B.
func pairs(b *testing.B, dir string) func(i int) (prepare, confirm *ledger.SignedCommand) {
	b.Helper()
	from, to := keysIn(b, dir, folderClearing, clearingNode), keysIn(b, dir, folderB, bankNode)
	judge := keysIn(b, dir, folderVoteDCEP, validatorNode)
	policy, expiry := validator.Policy{}, time.Now().Add(time.Hour).Unix()
	for _, a := range from.genesis.File().Assets {
		if a.Asset == assetDCEP() {
			policy = a.Policy
		}
	}
	network := from.genesis.Network()
	return func(i int) (prepare, confirm *ledger.SignedCommand) {
		var preimage cypherlink.Preimage
		binary.BigEndian.PutUint64(preimage[:], uint64(i)+1)
		subject := validator.Subject{
			Terms: cypherlink.Hash(preimage), Leg: terms.Destination, Condition: preimage.Condition(),
			Fields: terms.Leg{
				Asset: assetDCEP(), Amount: 1, Expiry: expiry,
				Debit: cypherlink.Account{Owner: from.self.ID}, Credit: cypherlink.Account{Owner: to.self.ID},
			},
		}
		verdict := validator.Verdict{
			Subject: subject, ValidUntil: expiry, RuleSet: policy.RuleSet, Outcome: validator.Approved,
		}
		signed := validator.Signed{Verdict: verdict, Validator: judge.self.ID}
		signed.Signature, _ = judge.identity.Sign(verdict.Frame(network))
		command := func(by *keys, body ledger.Command) *ledger.SignedCommand {
			c := &ledger.SignedCommand{
				Network: network, Ledger: ledgerCypherium, Signer: by.self.ID, Sequence: uint64(i) + 1, Command: body,
			}
			c.Signature, _ = by.identity.Sign(c.Frame())
			return c
		}
		return command(from, &ledger.Prepare{Subject: subject, Verdicts: []validator.Signed{signed}}),
			command(to, &ledger.Confirm{ID: ledger.NewCustodyID(network, subject.Terms, subject.Leg), Preimage: preimage})
	}
}
