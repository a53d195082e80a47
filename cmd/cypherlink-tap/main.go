// Command cypherlink-tap is a regulator's tap: it follows the chain with a transport key of its
// own and serves what it has verified, for reading alone (package tap). It links no code that can
// sign, submit or judge, and its machine holds no key that anybody would believe: a test in
// internal/tidy holds the first, the layout of its folder the second.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/cypherlink/cypherlink/internal/hold"
	"github.com/cypherlink/cypherlink/tap"
)

// The exit codes: 0 done; 1 a failure; 2 the request cannot be carried out as it was put.
const (
	exitFailed  = 1
	exitRefused = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

// run is the command without the process around it: what it logs and its exit code.
func run(ctx context.Context, args []string, errOut io.Writer) int {
	flags := flag.NewFlagSet("cypherlink-tap", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprintf(errOut, "Usage: cypherlink-tap --config FILE\n\nFollow the chain with a regulator's transport key, and serve what is "+
			"verified,\nfor reading alone: /v1/events, /v1/stream, /v1/head; /openapi.yaml describes them.\n")
	}
	file := flags.String("config", "", "configuration `file`")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitRefused
	}
	if *file == "" || flags.NArg() > 0 {
		flags.Usage()
		return exitRefused
	}
	c, err := tap.LoadConfig(*file)
	if err != nil {
		fmt.Fprintln(errOut, "cypherlink-tap:", err)
		return exitRefused
	}
	held, err := hold.Take(filepath.Dir(*file))
	if err != nil {
		fmt.Fprintln(errOut, "cypherlink-tap:", err)
		return exitRefused
	}
	err = serve(ctx, c, held, slog.New(slog.NewJSONHandler(errOut, nil)))
	if err := errors.Join(err, held.Release()); err != nil {
		fmt.Fprintln(errOut, "cypherlink-tap:", err)
		return exitFailed
	}
	return 0
}

// serve makes the process, tells that it is ready, and runs it until ctx ends.
func serve(ctx context.Context, c *tap.Config, held *hold.Hold, log *slog.Logger) error {
	p, err := open(ctx, c, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.run(ctx) }()
	err = held.Ready()
	if err != nil {
		cancel()
	}
	return errors.Join(err, <-done, p.close())
}
