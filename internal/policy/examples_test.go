package policy_test

import (
	"go/ast"
	"strings"
	"testing"
)

// entryPoints are what a user meets first: each has an example that runs.
var entryPoints = map[string][]string{
	"pubsub": {
		"Open", "New", "Client_Publisher", "Client_Subscriber", "Client_Serve", "Serve", "Topic_Publish",
		"Topic_PublishAsync", "Subscription_Receive", "Subscription_ReceiveBatch", "Typed", "TypedPublisher",
	},
	"drivers/memory":     {"New", "Named", "Broker_Disconnect", "Broker_Refuse"},
	"middleware":         {"Recover", "Logging", "Timeout", "Retry", "DeadLetter", "Validate", "ValidatePublish", "CorrelationID", "PublishCorrelationID", "WithCorrelationID", "CorrelationIDOf", "Deduplicate", "NewDeduplicationStore"},
	"codec":              {"JSON", "Text", "Bytes", "Encoded"},
	"pubsub/config":      {"Load", "Parse", "Config_Client", "Config_Plan", "Config_Apply"},
	"testing/pubsubtest": {"Run", "Handle", "Recorder", "Tracker"},
}

func TestEntryPointsHaveExamples(t *testing.T) {
	t.Parallel()
	examples := map[string]bool{}
	for _, f := range files(t) {
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if name, found := strings.CutPrefix(funcName(fn, ok), "Example"); found && f.test() && hasOutput(f, fn) {
				examples[f.folder()+"."+name] = true
			}
		}
	}
	for folder, names := range entryPoints {
		for _, name := range names {
			if !examples[folder+"."+name] {
				t.Errorf("%s: there is no Example%s with an output", folder, name)
			}
		}
	}
}

// TestNoConstructorIsForgotten finds middleware and codecs without an entry above.
func TestNoConstructorIsForgotten(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.test() || f.folder() != "middleware" && f.folder() != "codec" {
			continue
		}
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !fn.Name.IsExported() {
				continue
			}
			if !strings.Contains(" "+strings.Join(entryPoints[f.folder()], " ")+" ", " "+fn.Name.Name+" ") {
				t.Errorf("%s: list %s among the entry points, and give it an example", f.path, fn.Name.Name)
			}
		}
	}
}

func funcName(fn *ast.FuncDecl, ok bool) string {
	if !ok || fn.Recv != nil {
		return ""
	}
	return fn.Name.Name
}

// hasOutput says whether an example runs.
func hasOutput(f *file, fn *ast.FuncDecl) bool {
	for _, c := range f.syntax.Comments {
		if c.Pos() > fn.Body.Pos() && c.End() < fn.Body.End() && strings.HasPrefix(strings.ToLower(c.Text()), "output:") {
			return true
		}
	}
	return false
}
