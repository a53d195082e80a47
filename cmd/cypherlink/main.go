// Command cypherlink is everything of the gateway in one binary: the processes of a network
// (member, validator, connect, connector, ledger), the network as a demonstration, and the
// tools that need no network (verify, audit, bench). It is the only place that constructs: it reads
// configuration, loads keys, and hands each part what it needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes: 0 done; 1 what was checked does not hold, or a failure; 2 the request
// cannot be carried out as it was put.
const (
	exitFailed  = 1
	exitRefused = 2
)

// refusal is an error of the request: exit code 2.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// commands is the command line.
type commands struct {
	Demo      demoCommand      `cmd:"" help:"Play the whitepaper's thirteen steps on a network of its own, here and now."`
	Verify    verifyCommand    `cmd:"" help:"Check a payment's receipt, offline."`
	Audit     auditCommand     `cmd:"" help:"Compare what all parts of a network that is down have stored."`
	Bench     benchCommand     `cmd:"" help:"Measure on a network of its own, here and now."`
	Network   networkCommand   `cmd:"" help:"Create a network's keys, genesis and configuration in a folder."`
	Registry  registryCommand  `cmd:"" help:"Read the registry of participants, and change it as its authorities."`
	Member    memberCommand    `cmd:"" help:"Run a member of the committee."`
	Validator validatorCommand `cmd:"" help:"Run the Cypherium Validator of an asset."`
	Connect   connectCommand   `cmd:"" help:"Run a bank's Cypherium Connect."`
	Connector connectorCommand `cmd:"" help:"Run a clearing bank's connector."`
	Ledger    ledgerCommand    `cmd:"" help:"Run an external ledger behind Kafka."`
}

// session is what every command gets.
type session struct {
	context.Context //nolint:containedctx // the command line's own, for kong's bindings
	out             io.Writer
	log             io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the command without the process around it: what it prints and its exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) (code int) {
	var c commands
	parser, err := kong.New(&c, kong.Name("cypherlink"),
		kong.Description("Interbank settlement gateway over a permissioned committee chain."),
		kong.Writers(out, errOut), kong.UsageOnError(),
		kong.Exit(func(exit int) { panic(exitCode(exit)) })) //nolint:forbidigo // kong must not go on; recovered below
	if err != nil {
		fmt.Fprintln(errOut, err)
		return exitFailed
	}
	defer func() {
		if exit, ok := recover().(exitCode); ok {
			code = int(exit)
		}
	}()
	parsed, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s", err)
		return exitRefused
	}
	if err := parsed.Run(&session{Context: ctx, out: out, log: errOut}); err != nil {
		fmt.Fprintln(errOut, "cypherlink:", err)
		if _, ok := errors.AsType[refusal](err); ok {
			return exitRefused
		}
		return exitFailed
	}
	return 0
}

// exitCode is how kong's wish to exit, after printing help, reaches run.
type exitCode int
