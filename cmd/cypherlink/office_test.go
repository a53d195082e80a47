package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/payment"
)

// What an institution refuses its operator is told, with the peer and the rule, and once in a flood of it; and
// the peer is told the same as before.
func TestRefusedCallsAreTold(t *testing.T) {
	var lines bytes.Buffer
	refused := errors.New("refused")
	a := telling(slog.New(slog.NewTextHandler(&lines, nil)),
		func(_ context.Context, _ cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error) {
			switch kind {
			case payment.KindSetup:
				return nil, &cypherlink.Error{Code: payment.CodeCrowded, Reason: "ED06", Err: refused}
			case payment.KindLane:
				return nil, refused
			}
			return body, nil
		})
	gone, leave := context.WithCancel(t.Context())
	leave()
	from := cypherlink.ParticipantID{7}
	for range 100 {
		for _, kind := range []uint8{payment.KindSetup, payment.KindLane} {
			if _, err := a(t.Context(), from, kind, nil); !errors.Is(err, refused) {
				t.Fatal(err)
			}
			if _, err := a(gone, cypherlink.ParticipantID{8}, kind, nil); !errors.Is(err, refused) {
				t.Fatal(err)
			}
		}
		if reply, err := a(t.Context(), from, payment.KindTerms, []byte("yes")); err != nil || string(reply) != "yes" {
			t.Fatal(reply, err)
		}
	}
	said := lines.String()
	for _, rule := range []string{string(payment.CodeCrowded), "internal"} {
		if !strings.Contains(said, "peer="+from.String()+" rule="+rule+" left_out=0 kind=") {
			t.Errorf("%s is missing in\n%s", rule, said)
		}
	}
	hungUp := cypherlink.ParticipantID{8}
	if !strings.Contains(said, "peer="+hungUp.String()+" rule="+string(payment.CodeCrowded)) {
		t.Errorf("who hangs up is missing in\n%s", said)
	}
	if n := strings.Count(said, "\n"); n != 3 {
		t.Errorf("%d lines in\n%s", n, said)
	}
}

// So is it over the wire, whoever answers.
func TestRefusedCallsOfPeersAreTold(t *testing.T) {
	dir := t.TempDir()
	if err := createNetwork(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	load := func(folder string) *keys {
		var c validatorConfig
		if err := readConfig(filepath.Join(dir, folder, configName), &c); err != nil {
			t.Fatal(err)
		}
		k, err := c.Node.load()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	var lines bytes.Buffer
	own, other := load(folderVoteDE), load(folderVoteDCEP)
	listener, err := newDirectory(own.genesis).serve(t.Context(), "127.0.0.1:0", own.tls,
		slog.New(slog.NewTextHandler(&lines, nil)),
		func(context.Context, cypherlink.ParticipantID, uint8, []byte) ([]byte, error) {
			return nil, &cypherlink.Error{Code: payment.CodeMessage, Reason: "FF01"}
		})
	if err != nil {
		t.Fatal(err)
	}
	client, err := peer.Dial(listener.Addr().String(), peer.SPKI(own.self.TLS), other.tls, talk())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Call(t.Context(), payment.KindVerdict, []byte("nonsense"))
	if err := errors.Join(client.Close(), listener.Close()); err != nil {
		t.Fatal(err)
	}
	if refusal, ok := errors.AsType[*peer.RemoteError](err); !ok || refusal.Code != payment.CodeMessage {
		t.Error(err)
	}
	if said := lines.String(); !strings.Contains(said, "peer="+other.self.ID.String()+" rule=message_malformed") {
		t.Errorf("the operator is told\n%s", said)
	}
}
