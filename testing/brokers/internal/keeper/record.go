package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// A Spec is what a keeper is told to run.
type Spec struct {
	Installation recipe.Installation
	Nodes        int
	Owner        Process
	Record       string // file to write once it runs
}

// A Record says how to reach a running instance.
type Record struct {
	Kind      recipe.Kind
	Version   string
	URL       string
	Addresses []string
	TLS       *recipe.TLS
	SASL      *recipe.SASL
	Dir       string
	Keeper    Process
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path) //nolint:gosec // a file of ours
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file at once, so that nobody reads half of it.
func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
