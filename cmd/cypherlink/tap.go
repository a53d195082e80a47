package main

import (
	"os"
	"path/filepath"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/tap"
)

// The regulator of the local network has two folders: its own, with the keys that stand for it and
// its certificate for reading, and that of its tap, which has none of them. The tap runs as a
// binary of its own, cypherlink-tap.

// The names of the tap's certificates: of its listener, and of its reader.
const (
	tapServer = "server"
	tapClient = "client"
)

// tap makes the tap's folder: the regulator's transport key moves there, and an authority of the
// tap's own issues certificates for its listener and for the regulator.
func (b *builder) tap() error {
	regulator, folder := filepath.Join(b.dir, folderRegulator), filepath.Join(b.dir, folderTap)
	if err := os.Mkdir(folder, dirMode); err != nil {
		return err
	}
	for _, name := range []string{"tls.pem", "tls.key"} {
		if err := os.Rename(filepath.Join(regulator, name), filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	ca, err := newAuthority(folder)
	if err != nil {
		return err
	}
	if err := ca.issue(folder, tapServer); err != nil {
		return err
	}
	if err := ca.issue(regulator, tapClient); err != nil {
		return err
	}
	c := tap.Config{
		Genesis: "../" + genesisName, TLSCert: "tls.pem", TLSKey: "tls.key", Data: dataName,
		Members: map[cypherlink.ParticipantID]string{}, Listen: b.api[folderTap],
		Cert: tapServer + ".pem", Key: tapServer + ".key", CA: "ca.pem",
	}
	for _, member := range committee() {
		c.Members[b.by[member].ID] = b.address[member]
	}
	return c.Save(filepath.Join(folder, configName))
}

// tapEnvironment is what a reader of the tap needs, NAME and value.
func tapEnvironment(dir string) ([][2]string, error) {
	folder, regulator := filepath.Join(dir, folderTap), filepath.Join(dir, folderRegulator)
	c, err := tap.LoadConfig(filepath.Join(folder, configName))
	if err != nil {
		return nil, err
	}
	return [][2]string{
		{"TAP", "https://" + c.Listen},
		{"TAP_CA", c.CA},
		{"TAP_CERT", filepath.Join(regulator, tapClient+".pem")},
		{"TAP_KEY", filepath.Join(regulator, tapClient+".key")},
	}, nil
}
