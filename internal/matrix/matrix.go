// Package matrix keeps the table of docs/semantics.md true: each driver's tests check
// its column against the Capabilities of the broker that they run on.
package matrix

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/pubsub"
)

const (
	page  = "docs/semantics.md"
	begin = "<!-- promises -->\n"
	end   = "<!-- /promises -->\n"
)

// Check fails the test unless the column of that name says what the capabilities say.
// With WAYBILL_UPDATE_DOCS=1 in the environment it writes the column instead.
func Check(t testing.TB, column string, c pubsub.Capabilities) {
	t.Helper()
	path, err := find(page)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path) //nolint:gosec // a page of this repository
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	table, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no table between %q and %q", page, begin, end)
	}
	want, err := set(table, column, pubsub.Promises(c))
	switch {
	case err != nil:
		t.Fatalf("%s: %v", page, err)
	case want == table:
	case os.Getenv("WAYBILL_UPDATE_DOCS") == "1":
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil { //nolint:gosec // as it was
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: column %q is not what %s can do; want\n%s\nrun this test with WAYBILL_UPDATE_DOCS=1", page, column, &c, want)
	}
}

// find looks for a file of the repository from here upwards.
func find(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", fmt.Errorf("%s is nowhere above this package", name)
	}
}

// set puts promises into the column of a table, and keeps the others.
func set(table, column string, promises []pubsub.Promise) (string, error) {
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) < 2 {
		return "", fmt.Errorf("the table has no head")
	}
	head := cells(lines[0])
	at := slices.Index(head, column)
	if at < 0 {
		return "", fmt.Errorf("the table has no column %q, only %q", column, head)
	}
	others := map[string][]string{}
	for _, line := range lines[2:] {
		row := cells(line)
		others[row[0]] = row
	}
	out := lines[0] + "\n" + lines[1] + "\n"
	for _, p := range promises {
		row := slices.Grow(others[p.Name], len(head))[:len(head)]
		row[0], row[at] = p.Name, p.String()
		out += "| " + strings.Join(row, " | ") + " |\n"
	}
	return out, nil
}

// cells splits a row of a table.
func cells(line string) []string {
	line = strings.TrimSpace(line)
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
