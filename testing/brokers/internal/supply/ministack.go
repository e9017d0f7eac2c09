package supply

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// ministackVersion is the one that was tried.
const ministackVersion = "1.5.33"

func (i *Installer) ministack(ctx context.Context, cache string, want recipe.Want) error {
	if !want.Suits(ministackVersion) {
		return fmt.Errorf("only ministack %s is fetched", ministackVersion)
	}
	// The system's Python rather than one that a version manager puts before it.
	python := "/usr/bin/python3"
	if exec.CommandContext(ctx, python, "-m", "ensurepip", "--version").Run() != nil {
		if err := i.apt(ctx, "python3-venv"); err != nil {
			return err
		}
	}
	i.say("%s: ministack %s in a virtual environment of Python, 90 MB", want, ministackVersion)
	// A virtual environment cannot be moved: it is made in its place, and marked at the end.
	final := filepath.Join(cache, "ministack-"+ministackVersion)
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if err := i.run(ctx, nil, python, "-m", "venv", final); err != nil {
		return err
	}
	if err := i.run(ctx, nil, filepath.Join(final, "bin", "pip"), "install", "--quiet", "ministack=="+ministackVersion); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(final, recipe.Complete), nil, 0o600)
}
