//go:build !linux

package keeper

import (
	"context"
	"errors"
	"os"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

var errLinux = errors.New("brokers are started on Linux only: start one with testing/brokers/compose.yaml and set its address in the environment")

// Main does nothing here.
func Main() {}

// Launch fails here.
func Launch(context.Context, Process, recipe.Installation, int) (*Record, error) {
	return nil, errLinux
}

// Share fails here.
func Share(context.Context, Process, recipe.Installation, int) (*Record, error) { return nil, errLinux }

// Shared finds nothing here.
func Shared(Process, string) (*Record, bool) { return nil, false }

// Lock fails here.
func Lock(context.Context, string) (*os.File, error) { return nil, errLinux }
