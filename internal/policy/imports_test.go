package policy_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowed says which packages beside the standard library a folder of the core
// module may import, tests aside.
var allowed = map[string][]string{
	"pubsub/driver":      {},
	"codec":              {},
	"codec/encrypt":      {"codec"},
	"pubsub":             {"pubsub/driver", "codec"},
	"drivers/memory":     {"pubsub/driver"},
	"middleware":         {"pubsub", "pubsub/driver"},
	"testing/pubsubtest": {"pubsub", "pubsub/driver"},
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		list, ruled := allowed[f.folder()]
		if !ruled || f.test() {
			continue
		}
		for _, path := range f.imports() {
			ours, inside := strings.CutPrefix(path, module+"/")
			if inside && slices.Contains(list, ours) || !strings.Contains(strings.Split(path, "/")[0], ".") {
				continue
			}
			t.Errorf("%s imports %s; %s may import the standard library and %v: put what needs more into a module of its own", f.path, path, f.folder(), list)
		}
	}
}

// TestCoreIsLight bounds what a user of the core module has to download.
func TestCoreIsLight(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "all")
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if modules := strings.Fields(string(out)); strings.Count(string(out), "\n") > 6 {
		t.Errorf("the core module depends on %v: move what needs them into modules of their own", modules)
	}
}

func TestModulesReplaceEachOther(t *testing.T) {
	t.Parallel()
	ours := regexp.MustCompile(`(?m)^(?:require)?\s*(` + regexp.QuoteMeta(module) + `\S*) v`)
	for _, path := range paths(t, "go.mod") {
		text := read(t, path)
		for _, m := range ours.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(text, m[1]+" => ") {
				t.Errorf("%s requires %s and does not replace it: it would not build with GOWORK=off", path, m[1])
			}
		}
	}
}
