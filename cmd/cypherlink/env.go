package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cypherlink/cypherlink/internal/hold"
)

// envCommand prints what a caller of a local network needs, one NAME=value a line.
type envCommand struct {
	Dir string `arg:"" help:"Folder of the network." type:"existingdir"`
}

// Run prints it.
func (c *envCommand) Run(s *session) error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	text, err := environment(dir)
	fmt.Fprint(s.out, text)
	return err
}

// environment is what a caller of the network in dir needs.
func environment(dir string) (string, error) {
	var out strings.Builder
	for _, bank := range []struct{ name, folder string }{
		{"A", folderA}, {"B", folderB},
	} {
		var config connectConfig
		if err := readConfig(filepath.Join(dir, bank.folder, configName), &config); err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "API_BANK_%s=https://%s\n", bank.name, config.API.Listen)
	}
	var clearing connectorConfig
	if err := readConfig(filepath.Join(dir, folderClearing, configName), &clearing); err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "API_CLEARING=https://%s\n", clearing.API.Listen)
	for _, file := range []struct{ name, file string }{
		{"CA_CERT", "ca.pem"},
		{"CLIENT_CERT", "client.pem"},
		{"CLIENT_KEY", "client.key"},
		{"GENESIS", genesisName},
	} {
		fmt.Fprintf(&out, "%s=%s\n", file.name, filepath.Join(dir, file.file))
	}
	reader, err := tapEnvironment(dir)
	if err != nil {
		return "", err
	}
	for _, pair := range reader {
		fmt.Fprintf(&out, "%s=%s\n", pair[0], pair[1])
	}
	fmt.Fprintf(&out, "KAFKA_BOOTSTRAP=%s\nKAFKA_COMMANDS=%s\nKAFKA_EVENTS=%s\n",
		clearing.Kafka.Bootstrap, clearing.Kafka.Commands, clearing.Kafka.Events)
	for _, p := range processes() {
		pid, err := hold.Holder(filepath.Join(dir, p.folder))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "PID_%s=%d\n", p.name, pid)
	}
	return out.String(), nil
}

// running is a process of a local network: its name in the environment, and its folder.
type running struct{ name, folder string }

func processes() []running {
	var all []running
	for _, folder := range committee() {
		all = append(all, running{strings.ToUpper(strings.ReplaceAll(folder, "-", "_")), folder})
	}
	return append(all, running{"VALIDATOR_DE", folderVoteDE}, running{"VALIDATOR_DCEP", folderVoteDCEP},
		running{"CONNECT_A", folderA}, running{"CONNECT_B", folderB}, running{"CONNECTOR", folderClearing},
		running{"LEDGER", folderLedger}, running{"TAP", folderTap})
}
