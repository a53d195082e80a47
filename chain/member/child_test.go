package member_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/peer"
)

// childFolder names, to a child process, the folder of the member that it runs: with what
// town.spawn has put there.
const childFolder = "CYPHERLINK_TEST_MEMBER"

// childBreaks tells a child process that its disk fills up.
const childBreaks = "CYPHERLINK_TEST_MEMBER_BREAKS"

// child is the process that runs a member until it is killed.
func child(folder string) int {
	err := runChild(folder)
	fmt.Fprintln(os.Stderr, "child:", err)
	return 1
}

func runChild(folder string) error {
	raw, err := os.ReadFile(filepath.Join(folder, "genesis.json"))
	if err != nil {
		return err
	}
	genesis, err := chain.ParseGenesis(raw)
	if err != nil {
		return err
	}
	tls, err := peer.LoadIdentity(filepath.Join(folder, "tls.pem"), filepath.Join(folder, "tls.key"))
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(filepath.Base(folder))
	if err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{byte(i)}) // as chaintest makes the keys
	identity, err := sign.GenerateIdentity(random)
	if err != nil {
		return err
	}
	key, err := sign.GenerateKey(random)
	if err != nil {
		return err
	}
	addrs := map[cypherlink.ParticipantID]string{}
	members := genesis.File().KeyBlock.Members
	for j, addr := range strings.Split(os.Getenv("ADDRS"), ",") {
		addrs[members[j].ID] = addr
	}
	ctx := context.Background()
	m, err := member.Open(ctx, member.Options{
		Genesis: genesis, Identity: identity, Key: key, TLS: tls, Data: folder,
		Listen: addrs[members[i].ID], Peers: addrs, Limits: member.DefaultLimits(),
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	if os.Getenv(childBreaks) != "" {
		// From now on no file grows beyond 64 KiB: the store's log cannot be written for long.
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
	}
	fmt.Println("ready, observer:", m.Metrics().Observer)
	return m.Run(ctx)
}

// spawn runs member 3 in a process of its own, and waits until it is ready.
func (w *town) spawn(env ...string) *exec.Cmd {
	w.t.Helper()
	folder := w.folder(3)
	if _, err := os.Stat(filepath.Join(folder, "tls.pem")); err != nil {
		err := w.tls[3].Save(filepath.Join(folder, "tls.pem"), filepath.Join(folder, "tls.key"))
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "genesis.json"), w.Genesis.Bytes(), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	var addrs []string
	for _, m := range w.Committee.KeyBlock().Members {
		addrs = append(addrs, w.addrs[m.ID])
	}
	cmd := exec.CommandContext(w.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+folder, "ADDRS="+strings.Join(addrs, ","))
	cmd.Env = append(cmd.Env, env...)
	if len(env) == 0 { // otherwise it is to fail, and says so
		cmd.Stderr = os.Stderr
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready, observer: false\n" {
		w.t.Fatalf("child says %q, %v", line, err)
	}
	return cmd
}

// kill is kill -9.
func (w *town) kill(cmd *exec.Cmd) {
	w.t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed, which is an error
}

// A member that is killed again and again at any moment catches up, votes on, and never
// contradicts itself: the others would report it, and it would find out at its next start.
func TestKillNine(t *testing.T) {
	w := found(t, quick())
	for i := range 3 {
		w.start(i)
	}
	cmd := w.spawn()
	rounds := 8
	if testing.Short() {
		rounds = 1
	}
	random := rand.New(rand.NewPCG(1, 1))
	for round := range rounds {
		c := w.client(round % 3)
		for i := range 1 + random.IntN(6) {
			w.settle(c, w.World.Prepare(w.payment(fmt.Sprint(round, " ", i))))
		}
		w.kill(cmd)
		w.settle(c, w.World.Prepare(w.payment(fmt.Sprint(round, " while it is down"))))
		cmd = w.spawn()
		// Without the one that stops now, the quorum needs the one that was killed.
		w.stop(round % 3)
		w.settle(w.client(3), w.World.Prepare(w.payment(fmt.Sprint(round, " with it alone"))))
		w.start(round % 3)
	}
	w.kill(cmd)
	for i := range 3 {
		if m := w.runs[i].Metrics(); m.Faults > 0 || m.Observer {
			t.Errorf("member %d: %+v", i, m)
		}
	}
}

// A store that cannot be written kills the process: what is durable is for a new start to find
// out.
func TestAFullDiskStopsTheProcess(t *testing.T) {
	w := found(t, quick())
	for i := range 3 {
		w.start(i)
	}
	cmd := w.spawn(childBreaks + "=1")
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	var err error
	w.eventually("the process ends", func() bool {
		p := w.payment(fmt.Sprint(time.Now()))
		p.Packet = make([]byte, 8000)
		w.settle(w.client(0), w.World.Prepare(p))
		select {
		case err = <-exited:
			return true
		default:
			return false
		}
	})
	// By Run's error, or by the store's own exit where it has no way to return one.
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.ExitCode() != 1 && exit.ExitCode() != 3 {
		t.Fatal(err)
	}
	w.kill(w.spawn()) // a disk with room again: no observer
}
