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
	actor
	url  string
	http *http.Client
}

// restBanks are these banks of the network in a folder.
func restBanks(dir string, who ...actor) ([]*restBank, error) {
	config, err := tlsFiles{
		Cert: path(filepath.Join(dir, "client.pem")), Key: path(filepath.Join(dir, "client.key")),
		CA: path(filepath.Join(dir, "ca.pem")),
	}.config()
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, Timeout: restWithin,
	}
	var all []*restBank
	for _, a := range who {
		where, err := apiOf(dir, a.folder)
		if err != nil {
			return nil, err
		}
		all = append(all, &restBank{a, "https://" + where, client})
	}
	return all, nil
}

// apiOf is where an institution's API listens.
func apiOf(dir, folder string) (string, error) {
	file := filepath.Join(dir, folder, configName)
	if folder == folderClearing {
		var c connectorConfig
		err := readConfig(file, &c)
		return c.API.Listen, err
	}
	var c connectConfig
	err := readConfig(file, &c)
	return c.API.Listen, err
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

// agent is the bank's BIC as an instruction has it.
func (b *restBank) agent() string { return b.bic + "XXX" }

// openChannel has both banks bring money over the ramp, open the channel, and put the money in. It may
// be repeated: its requests have the same keys each time. tell says what has happened.
func openChannel(ctx context.Context, a, b *restBank, tell func(format string, args ...any)) (id string, err error) {
	for _, bank := range []*restBank{a, b} {
		if err := bank.cross(ctx); err != nil {
			return "", fmt.Errorf("%s: %w", bank.name, err)
		}
		tell("%s has brought %s %s onto the chain as %s, over the ramp", bank.name, crossed, labelDE, labelClaim)
	}
	if id, err = a.open(ctx, b, labelClaim); err != nil {
		return "", err
	}
	c, err := a.channel(ctx, id)
	if err != nil {
		return "", err
	}
	if c.State != stateOpen { // an operator has closed it since
		tell("channel %s in %s is %s", id, labelClaim, c.State)
		return id, nil
	}
	tell("channel %s is open in %s", id, labelClaim)
	for _, bank := range []*restBank{a, b} {
		if err := bank.fund(ctx, id, funded); err != nil {
			return "", fmt.Errorf("%s: %w", bank.name, err)
		}
		tell("%s has put %s %s into it", bank.name, funded, labelClaim)
	}
	return id, nil
}

// The states of a channel, as the API says them, in which it is not over.
const (
	stateOpening = "OPENING"
	stateOpen    = "OPEN"
)

// open has a channel opened with another bank in an asset, and waits until both are in step.
func (b *restBank) open(ctx context.Context, with *restBank, asset string) (id string, err error) {
	var opening api.Opening
	request := api.ChannelRequest{Peer: with.agent(), Asset: asset}
	if err := b.post(ctx, "/v1/channels", "local-open-"+with.folder, request, &opening); err != nil {
		return "", err
	}
	for _, bank := range []*restBank{b, with} {
		err := until(ctx, "the channel is open for "+bank.name, func() (bool, error) {
			c, err := bank.channel(ctx, opening.ID)
			if _, unknown := errors.AsType[*cypherlink.Error](err); unknown { // it has not seen it yet
				return false, nil
			}
			return err == nil && (c.State == stateOpen && c.Synced || c.State != stateOpen && c.State != stateOpening), err
		})
		if err != nil {
			return "", err
		}
	}
	return opening.ID, nil
}

// fund puts money into a channel, and waits until it is there.
func (b *restBank) fund(ctx context.Context, id, amount string) error {
	where, key := "/v1/channels/"+id+"/fund", "local-fund-"+id[:16]
	if err := b.post(ctx, where, key, api.ChannelAmount{Amount: amount}, nil); err != nil {
		return err
	}
	return until(ctx, "the channel is funded by "+b.name, func() (bool, error) {
		c, err := b.channel(ctx, id)
		return err == nil && c.Funds.Own != "0.00", err
	})
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
