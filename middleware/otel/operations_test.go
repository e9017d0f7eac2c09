package otel_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// prometheus are the names of all metrics, as exporters translate them.
func prometheus(t *testing.T) map[string]bool {
	t.Helper()
	source, err := os.ReadFile("instruments.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	name := strings.NewReplacer(".", "_")
	for _, n := range []string{"messaging.client.operation.duration", "messaging.process.duration", "waybill.critical_time"} {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			names[name.Replace(n)+"_seconds"+suffix] = true
		}
	}
	for _, n := range []string{"messaging.client.sent.messages", "messaging.client.consumed.messages"} {
		names[name.Replace(n)+"_total"] = true
	}
	for _, m := range regexp.MustCompile(`counter\("([a-z._]+)"`).FindAllStringSubmatch(string(source), -1) {
		names[name.Replace(m[1])+"_total"] = true
	}
	for _, m := range regexp.MustCompile(`Gauge\("([a-z._]+)"`).FindAllStringSubmatch(string(source), -1) {
		names[name.Replace(m[1])] = true
	}
	return names
}

// The dashboard and the alerts ask for metrics that there are, and for all of them.
func TestDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	known := prometheus(t)
	if len(known) < 15 {
		t.Fatalf("only %v", known)
	}
	used := map[string]bool{}
	metric := regexp.MustCompile(`\b(messaging|waybill)_[a-z_]+\b`)
	label := regexp.MustCompile(`messaging_(destination_name|consumer_group_name|operation_type)|waybill_state`)
	for _, path := range []string{"grafana/dashboard.json", "prometheus/alerts.yaml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metric.FindAllString(label.ReplaceAllString(string(text), ""), -1) {
			used[name] = true
			if !known[name] {
				t.Errorf("%s: %s is no metric", path, name)
			}
		}
	}
	for name := range known {
		base := strings.NewReplacer("_bucket", "", "_count", "", "_sum", "").Replace(name)
		found := false
		for n := range used {
			found = found || strings.HasPrefix(n, base)
		}
		if !found {
			t.Errorf("%s is shown nowhere", name)
		}
	}
	text, err := os.ReadFile("grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct{ Panels []json.RawMessage }
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) != 12 {
		t.Errorf("%d panels, %v", len(dashboard.Panels), err)
	}
}
