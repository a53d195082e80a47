package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
)

// restBank is a bank of a local network as its operator's own systems reach it: over REST.
type restBank struct {
	name string
	url  string
	http *http.Client
}

// restBanks are Bank A and Bank B of the network in a folder.
func restBanks(dir string) (a, b *restBank, err error) {
	config, err := tlsFiles{
		Cert: path(filepath.Join(dir, "client.pem")), Key: path(filepath.Join(dir, "client.key")),
		CA: path(filepath.Join(dir, "ca.pem")),
	}.config()
	if err != nil {
		return nil, nil, err
	}
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, Timeout: restWithin,
	}
	bank := func(folder, name string) *restBank {
		var c connectConfig
		if err = errors.Join(err, readConfig(filepath.Join(dir, folder, configName), &c)); err != nil {
			return nil
		}
		return &restBank{name, "https://" + c.API.Listen, client}
	}
	a, b = bank(folderA, "Bank A"), bank(folderB, "Bank B")
	return a, b, err
}

// The bounds of what is done over REST.
const (
	restWithin = 30 * time.Second
	restAnswer = 8 << 20
)

// call makes one request and reads the answer into out, unless that is nil. The key is empty for a
// question. A problem is a *cypherlink.Error.
func (b *restBank) call(ctx context.Context, method, where, key string, in []byte, out any) error {
	r, err := http.NewRequestWithContext(ctx, method, b.url+where, bytes.NewReader(in))
	if err != nil {
		return err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	answer, err := b.http.Do(r)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, restAnswer))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		var p struct {
			Code   cypherlink.Code `json:"code"`
			Reason string          `json:"iso_reason"`
			Title  string          `json:"title"`
			Detail string          `json:"detail"`
		}
		if err := json.Unmarshal(raw, &p); err != nil {
			return fmt.Errorf("%s %s: %s", method, where, answer.Status)
		}
		return &cypherlink.Error{Code: p.Code, Reason: p.Reason, Message: p.Title + ": " + p.Detail}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

func (b *restBank) post(ctx context.Context, where, key string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return b.call(ctx, http.MethodPost, where, key, raw, out)
}

func (b *restBank) get(ctx context.Context, where string, out any) error {
	return b.call(ctx, http.MethodGet, where, "", nil, out)
}

// until asks again and again until ok.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	for {
		done, err := ok()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		case <-time.After(pollEvery):
		}
	}
}

// channel is how a channel stands for the bank.
func (b *restBank) channel(ctx context.Context, id string) (*api.Channel, error) {
	var c api.Channel
	err := b.get(ctx, "/v1/channels/"+id, &c)
	return &c, err
}

// The money of the local network's channel, as each bank brings it over the ramp and puts it in.
const (
	crossed = "50000.00"
	funded  = "40000.00"
)

// openChannel has both banks bring money over the ramp, open the channel, and put the money in. It may
// be repeated: its requests have the same keys each time. tell says what has happened.
func openChannel(ctx context.Context, a, b *restBank, tell func(format string, args ...any)) (id string, err error) {
	for _, bank := range []*restBank{a, b} {
		if err := bank.cross(ctx); err != nil {
			return "", fmt.Errorf("%s: %w", bank.name, err)
		}
		tell("%s has brought %s %s onto the chain as %s, over the ramp", bank.name, crossed, labelDE, labelClaim)
	}
	var opening api.Opening
	request := api.ChannelRequest{Peer: "CYPBCNBJXXX", Asset: labelClaim}
	if err := a.post(ctx, "/v1/channels", "local-open", request, &opening); err != nil {
		return "", err
	}
	for _, bank := range []*restBank{a, b} {
		err := until(ctx, "the channel is open for "+bank.name, func() (bool, error) {
			c, err := bank.channel(ctx, opening.ID)
			if _, unknown := errors.AsType[*cypherlink.Error](err); unknown { // it has not seen it yet
				return false, nil
			}
			return err == nil && c.State == "OPEN" && c.Synced, err
		})
		if err != nil {
			return "", err
		}
	}
	tell("channel %s is open in %s", opening.ID, labelClaim)
	for _, bank := range []*restBank{a, b} {
		where := "/v1/channels/" + opening.ID
		if err := bank.post(ctx, where+"/fund", "local-fund", api.ChannelAmount{Amount: funded}, nil); err != nil {
			return "", fmt.Errorf("%s: %w", bank.name, err)
		}
		err := until(ctx, "the channel is funded by "+bank.name, func() (bool, error) {
			c, err := bank.channel(ctx, opening.ID)
			return err == nil && c.Escrow.Own != "0.00", err
		})
		if err != nil {
			return "", err
		}
		tell("%s has put %s %s into it", bank.name, funded, labelClaim)
	}
	return opening.ID, nil
}

// cross brings money from the digital euro ledger onto the chain.
func (b *restBank) cross(ctx context.Context) error {
	var c api.Crossing
	if err := b.post(ctx, "/v1/crossings", "local-cross", api.Money{Asset: labelDE, Amount: crossed}, &c); err != nil {
		return err
	}
	err := until(ctx, "the money has arrived", func() (bool, error) {
		err := b.get(ctx, "/v1/crossings/"+c.ID, &c)
		return err == nil && c.Final, err
	})
	if err == nil && c.Stage != "arrived" {
		err = fmt.Errorf("crossing %s %s", c.ID, c.Stage)
	}
	return err
}
