package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestACreationThatBrokeOffIsBegunAgain, whatever keys it had made.
func TestACreationThatBrokeOffIsBegunAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	if _, _, err := draw(filepath.Join(dir, draftName), ruleSets{}, 1); err != nil {
		t.Fatal(err)
	}
	if err := createNetwork(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	var c memberConfig
	if err := readConfig(filepath.Join(dir, "member-1", configName), &c); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Node.load(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, draftName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the draft is left: %v", err)
	}
}
