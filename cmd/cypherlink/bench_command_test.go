package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/payment"
)

// shape is a report without its figures, and without how wide its columns are.
func shape(report string) string {
	report = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?`).ReplaceAllString(report, "#")
	report = regexp.MustCompile(` +`).ReplaceAllString(report, " ")
	return strings.ReplaceAll(report, " \n", "\n")
}

// measured runs the command and gives the first lines of its report, without figures.
func measured(t *testing.T, lines int, args ...string) string {
	t.Helper()
	var out, log bytes.Buffer
	if code := run(t.Context(), append([]string{"bench"}, args...), &out, &log); code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, &out, &log)
	}
	if log.Len() > 0 {
		t.Errorf("no terminal is told %q", &log)
	}
	all := strings.SplitAfter(shape(out.String()), "\n")
	what, _, ok := strings.Cut(all[0], ", on # of # CPUs")
	if !ok {
		t.Errorf("the first line is %q", all[0])
	}
	all[0] = what + "\n"
	return strings.Join(all[:min(lines, len(all))], "")
}

func TestBenchPayments(t *testing.T) {
	banks := "3"
	if testing.Short() {
		banks = "2"
	}
	got := measured(t, 6+9+1, "payments", "--banks", banks, "--payments", "8", "--in-flight", "4")
	const want = `Payments through REST, all parts in one process

banks channels payments settled in flight payments/s instructed to settled: p# ms p# ms sent to settled: p# ms p# ms
# # # # # # # # # #

where the time goes p# ms p# ms
RECEIVED # #
CHECKED # #
NEGOTIATING # #
AGREED # #
APPROVED # #
RESERVED # #
SIGNED_# # #
SIGNED_# # #

where the CPU goes ms per payment share
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBenchChannels(t *testing.T) {
	got := measured(t, 9, "channels", "--updates", "300", "--payments-per-update", "2", "--channels", "8", "--open", "8")
	const want = `One lane of two banks with their stores

updates payments in each updates/s payments/s
# # # #

memory how many KiB each
a Party of an idle channel, restored # #
a payment that waits in a channel, both banks # #
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBenchTap(t *testing.T) {
	got := measured(t, 4, "tap", "--records", "3")
	const want = `From a block's being final at a member to a tap's reader, all parts in one process

events p# ms p# ms
# # #
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A reader notes records alone, and what is none ends it.
func TestSight(t *testing.T) {
	records := make(chan sighting, 2)
	stream := "retry: 1000\n\nevent: head\ndata: {\"height\": 6}\n\nid: 1\nevent: record\ndata: {\"height\": 7}\n\n"
	if err := sight(t.Context(), strings.NewReader(stream), records); err == nil {
		t.Error("a stream that ended is none")
	}
	if s := <-records; s.height != 7 || len(records) != 0 {
		t.Errorf("%+v and %d more", s, len(records))
	}
	if err := sight(t.Context(), strings.NewReader("event: record\ndata: 7\n"), records); err == nil {
		t.Error("7 is no record")
	}
}

func TestBenchRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"payments", "--banks", "1"},
		{"payments", "--banks", "11"},
		{"payments", "--payments", "0"},
		{"payments", "--in-flight", "0"},
		{"channels", "--updates", "0"},
		{"channels", "--channels", "0"},
		{"channels", "--payments-per-update", "257"},
		{"channels", "--open", "0"},
		{"tap", "--records", "0"},
	} {
		if code := run(t.Context(), append([]string{"bench"}, args...), io.Discard, io.Discard); code != exitRefused {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}

// field makes a field of a protobuf message: a number's, or that of bytes.
func field(number byte, v ...byte) []byte {
	if len(v) == 1 {
		return []byte{number << 3, v[0]}
	}
	return append([]byte{number<<3 | 2, byte(len(v))}, v...)
}

func zipped(tb testing.TB, raw []byte) *bytes.Buffer {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(raw)
	if err := errors.Join(err, z.Close()); err != nil {
		tb.Fatal(err)
	}
	return &b
}

// smallProfile has one sample of 7 ns, whose stack is these functions, the innermost first.
func smallProfile(functions ...string) []byte {
	raw := []byte{profileString<<3 | 2, 0}
	stack := []byte{}
	for i, name := range functions {
		id := byte(i + 1)
		raw = append(raw, profileString<<3|2, byte(len(name)))
		raw = append(raw, name...)
		raw = append(raw, field(profileFunction, append(field(functionID, id), field(functionName, id)...)...)...)
		line := field(locationLine, field(lineFunction, id)...)
		raw = append(raw, field(profileLocation, append(field(locationID, id), line...)...)...)
		stack = append(stack, field(sampleLocation, id)...)
	}
	packed := field(sampleValue, 1, 7)
	return append(raw, field(profileSample, append(stack, packed...)...)...)
}

func TestComponents(t *testing.T) {
	const us = "github.com/cypherlink/cypherlink/"
	for want, stack := range map[string][]string{
		"SQL":                {"runtime.memmove", "modernc.org/sqlite/lib.exec", us + "payment.(*Connect).run"},
		"payments":           {"crypto/sha256.block", us + "payment.(*Connect).run", "net/http.serve"},
		"books":              {us + "payment/books.(*Books).Post", us + "payment.(*Connect).run"},
		"garbage collection": {"runtime.scan", us + "payment.f", "runtime.gcAssistAlloc"},
		componentRest:        {"runtime.findRunnable", "runtime.mcall"},
	} {
		p, err := readProfile(zipped(t, smallProfile(stack...)))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.component(components(), p.samples[0].stack); got != want || p.samples[0].cpu != 7 {
			t.Errorf("%v: %s, %d", stack, got, p.samples[0].cpu)
		}
	}
}

// A profile of the runtime's own is read.
func TestProfiled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "profile")
	shares, err := profiled(file, func() error {
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
			smallProfile("a", "b")
		}
		return nil
	})
	var all time.Duration
	for _, s := range shares {
		all += s.took
	}
	if err != nil || all <= 0 || all > 10*time.Second {
		t.Errorf("%s, %v", all, err)
	}
	if raw, err := os.ReadFile(file); err != nil || len(raw) == 0 {
		t.Error(len(raw), err)
	}
	failure := errors.New("as it was")
	if _, err := profiled("", func() error { return failure }); !errors.Is(err, failure) {
		t.Error(err)
	}
}

func FuzzReadProfile(f *testing.F) {
	whole := smallProfile("a", "b")
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(field(profileFunction, field(functionName, 9)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := readProfile(zipped(t, raw))
		if err != nil {
			return
		}
		for _, s := range p.samples {
			p.component(components(), s.stack)
		}
	})
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, "things", 2)
	p.step()
	if b.Len() > 0 {
		t.Errorf("no terminal is told %q", &b)
	}
	p.out = &b
	p.step()
	if want := "\rthings [" + strings.Repeat("#", barWidth) + "] 2 of 2\n"; b.String() != want {
		t.Errorf("%q", &b)
	}
}

// Payments that are refused are counted, with the reason.
func TestPrintRefused(t *testing.T) {
	var b bytes.Buffer
	paid := []paidOne{
		{settled: 1}, {status: payment.StatusRejected, reason: "AB05"}, {status: payment.StatusRejected, reason: "AB05"},
	}
	if err := printRefused(&b, paid[:1]); err != nil || b.Len() > 0 {
		t.Errorf("%q, %v", &b, err)
	}
	err := printRefused(&b, paid)
	if got := shape(b.String()); err != nil || got != "\nnot settled payments\nREJECTED AB# #\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// What a payment's events say of its way.
func TestReadWay(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	p := paidOne{sent: at(90)}
	p.read([]payment.Entry{
		{At: at(100), To: payment.StatusReceived},
		{At: at(110), From: payment.StatusReceived, To: payment.StatusChecked},
		{At: at(115), From: payment.StatusChecked, To: payment.StatusChecked},
		{At: at(140), From: payment.StatusChecked, To: payment.StatusSettled},
		{At: at(170), From: payment.StatusSettled, To: payment.StatusPosted},
	})
	want := []stay{{payment.StatusReceived, 10 * time.Millisecond}, {payment.StatusChecked, 30 * time.Millisecond}}
	if p.settled != 40*time.Millisecond || p.seen != 50*time.Millisecond || !slices.Equal(p.way, want) {
		t.Errorf("%+v", p)
	}
}

func TestTimes(t *testing.T) {
	if got := (times{}).ms(50); got != "-" {
		t.Error(got)
	}
	all := times{3 * time.Millisecond, time.Millisecond, 2500 * time.Microsecond}
	if p50, p99 := all.ms(50), all.ms(99); p50 != "2.5" || p99 != "3.0" {
		t.Error(p50, p99)
	}
}
