package supply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// suites are the releases of Debian that have a version of RabbitMQ.
var suites = map[string]string{"3.10": "bookworm", "4.0": "trixie", "4.3": "sid"}

// rabbitmq installs the system's package where it is the version that is wanted, else a
// small Debian that has it, in a folder.
func (i *Installer) rabbitmq(ctx context.Context, cache string, want recipe.Want) error {
	suite, known := suites[want.Version]
	if want.Version == "" || known && strings.Contains(release(), "VERSION_CODENAME="+suite+"\n") {
		i.say("%s: Debian's package", want)
		return i.apt(ctx, "rabbitmq-server")
	}
	if !known {
		return fmt.Errorf("it is not known where to get %s: choose 3.10, 4.0 or 4.3", want)
	}
	if os.Getuid() != 0 {
		return errors.New("a root file system can be made by root only")
	}
	if err := i.need(ctx, "debootstrap", "debootstrap"); err != nil {
		return err
	}
	i.say("%s: Debian %s with rabbitmq-server, 400 MB", want, suite)
	final := filepath.Join(cache, "rabbitmq-"+want.Version)
	partial := final + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := i.run(ctx, nil, "debootstrap", "--force-check-gpg", "--variant=minbase", "--include=rabbitmq-server", suite, partial); err != nil {
		return err
	}
	hosts := []byte("127.0.0.1 localhost\n::1 localhost\n")
	if err := os.WriteFile(filepath.Join(partial, "etc/hosts"), hosts, 0o644); err != nil { //nolint:gosec // everybody reads it
		return err
	}
	// Where no version is left that suits, the caller says which one came.
	return finish(partial, final)
}

// release is what the system says of itself.
func release() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	return string(text) + "\n"
}
