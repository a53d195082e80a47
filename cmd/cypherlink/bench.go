package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// benchCommand measures.
type benchCommand struct {
	Payments benchPayments `cmd:"" help:"Payments per second over channels, through REST, and where the CPU goes."`
	Channels benchChannels `cmd:"" help:"Updates per second of one lane, and memory per channel and payment."`
	Tap      benchTap      `cmd:"" help:"How long a final event takes to a reader of the regulator's tap."`
}

// inFolder does something in a folder for temporary files, which also takes the logs.
func inFolder(do func(dir string, logs io.Writer) error) (err error) {
	dir, err := os.MkdirTemp("", "cypherlink-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logs, err := os.Create(filepath.Join(dir, "log")) //nolint:gosec // in a folder that was made just now
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	return do(dir, logs)
}

// hardware says on how much of what it was measured.
func hardware() string {
	return fmt.Sprintf("%d of %d CPUs, %s/%s, %s", runtime.GOMAXPROCS(0), runtime.NumCPU(),
		runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// times are how long something took, each time that it was done.
type times []time.Duration

// ms is the time within which percent of them lie, in milliseconds.
func (t times) ms(percent int) string {
	if len(t) == 0 {
		return "-"
	}
	slices.Sort(t)
	return fmt.Sprintf("%.1f", t[min(len(t)-1, len(t)*percent/100)].Seconds()*1000)
}

// printTable prints rows in columns, the first row above the others.
func printTable(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for _, cell := range row {
			fmt.Fprint(w, cell, "\t")
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// progress is a bar on a terminal, and nothing elsewhere. Its methods may be called by any number of
// goroutines.
type progress struct {
	out   io.Writer // nil where there is no terminal
	what  string
	total int

	mu    sync.Mutex
	done  int
	shown time.Time
}

// The bar is this wide, and is drawn again after this long.
const (
	barWidth = 40
	barEvery = 100 * time.Millisecond
)

func newProgress(out io.Writer, what string, total int) *progress {
	p := &progress{what: what, total: total}
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.out = out
		}
	}
	p.draw()
	return p
}

// step is one more done.
func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if p.done == p.total || time.Since(p.shown) >= barEvery {
		p.draw()
	}
}

func (p *progress) draw() {
	if p.out == nil {
		return
	}
	p.shown = time.Now()
	bar := make([]byte, barWidth)
	for i := range bar {
		bar[i] = ' '
		if i*p.total < p.done*barWidth {
			bar[i] = '#'
		}
	}
	fmt.Fprintf(p.out, "\r%s [%s] %d of %d", p.what, bar, p.done, p.total)
	if p.done == p.total {
		fmt.Fprintln(p.out)
	}
}
