package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/pubsub"
)

const shop = `
brokers: {main: {url: "memory://NAME?PARAMS"}}
topics: {orders: {ordered: true}, dead: {kind: queue}}
subscriptions:
  billing: {topic: orders, group: billing, max-attempts: 5, dead-letter: {topic: dead}}
  live: {topic: orders, broadcast: true, drop-permanent: true}
`

// write makes a file for one test, on a broker of its own that stays for the test.
func write(t *testing.T, params string) string {
	t.Helper()
	name := strings.ToLower(t.Name()) + "-" + strings.NewReplacer("=", "-", ",", "-").Replace(params)
	text := strings.NewReplacer("NAME", name, "PARAMS", params).Replace(shop)
	path := filepath.Join(t.TempDir(), "shop.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := pubsub.Open(t.Context(), "memory://"+name+"?"+params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(context.Background()) })
	return path
}

func command(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(in), &o, &e)
	return code, o.String(), e.String()
}

func TestALife(t *testing.T) {
	t.Parallel()
	file := write(t, "like=kafka")
	for _, step := range []struct {
		in   string
		args []string
		want string
	}{
		{"", []string{"plan", "-f", file}, "declare  topic orders: event, ordered"},
		{"", []string{"apply", "-f", file}, "declare  subscription billing"},
		{"", []string{"apply", "-f", file}, "\napplied: 0 declared, 4 left as they are\n"},
		{"", []string{"plan", "-f", file}, "keep     subscription billing"},
		{"", []string{"plan", "-f", file, "-o", "json"}, `"action": "keep"`},
		{"one\ntwo\nthree\n", []string{"pub", "-f", file, "orders", "--key", "ada", "--header", "tenant=7"}, "3 published, 0 failed\n"},
		{"", []string{"lag", "-f", file}, "billing       3      0"},
		{"", []string{"lag", "-f", file, "billing", "-o", "json"}, `"ready": 3`},
		{"", []string{"sub", "-f", file, "billing", "--count", "2"}, "one\ntwo\n"},
		{"", []string{"sub", "-f", file, "billing", "--count", "1", "-o", "json"},
			`{"key":"ada","headers":{"tenant":"7"},"body":"three","topic":"orders","group":"billing","attempt":`},
		{`{"id":"7","key":"bob","body":"x"}` + "\n" + `{"base64":"/w=="}`, []string{"pub", "-f", file, "orders", "--format", "json", "-o", "json"}, `"published": 2`},
		{`{"body":"y","topic":"orders","group":"billing","attempt":2,"source":"x","died":"2026-11-25T08:33:09Z"}`, []string{"pub", "--format", "json", "-f", file, "orders"}, "1 published"},
		{"all\nof it", []string{"pub", "-f", file, "orders", "--format", "whole"}, "1 published, 0 failed\n"},
		{"", []string{"version"}, "memory"},
	} {
		code, out, errs := command(t, step.in, step.args...)
		if code != 0 || !strings.Contains(out, step.want) || errs != "" {
			t.Fatalf("%q: exit %d, got %s%s; want %q", step.args, code, out, errs, step.want)
		}
		if step.args[len(step.args)-1] == "json" && step.args[0] != "sub" && !json.Valid([]byte(out)) {
			t.Errorf("%q: not JSON: %s", step.args, out)
		}
	}
}

func TestWhatFails(t *testing.T) {
	t.Parallel()
	file, poor, silent, made, unmade := write(t, ""), write(t, "like=sqs"), write(t, "without=backlog"), write(t, "like=kafka"), write(t, "lease=9s")
	if code, _, errs := command(t, "", "apply", "-f", made); code != 0 {
		t.Fatal(errs)
	}
	for name, c := range map[string]struct {
		in   string
		args []string
		code int
		want string
	}{
		"command":       {"", []string{"paln"}, 2, `unknown command "paln"; did you mean "plan"?; waybill --help`},
		"flag":          {"", []string{"plan", "--fiel", "x"}, 2, "unknown flag: --fiel; waybill plan --help lists the flags"},
		"output":        {"", []string{"version", "-o", "xml"}, 2, `output "xml" is not one of`},
		"argument":      {"", []string{"plan", "x"}, 2, "wrong number of arguments; usage: waybill plan [flags]"},
		"no argument":   {"", []string{"pub"}, 2, "wrong number of arguments; usage: waybill pub TOPIC [FILE...] [flags]"},
		"no file":       {"", []string{"plan", "-f", "nowhere.yaml"}, 2, "nowhere.yaml: no such file or directory; name the configuration file with -f"},
		"promise":       {"", []string{"plan", "-f", poor}, 3, ": 3 problems: this plan cannot be carried out"},
		"apply":         {"", []string{"apply", "-f", poor}, 3, ": 3 problems: this plan cannot be carried out"},
		"topic":         {"", []string{"pub", "-f", file, "ordres"}, 2, `did you mean "orders"?`},
		"format":        {"", []string{"pub", "-f", file, "orders", "--format", "xml"}, 2, `format "xml"`},
		"input":         {"", []string{"pub", "-f", file, "orders", "nowhere"}, 2, "nowhere"},
		"line":          {"{}\n{\"bdoy\":\"x\"}\n", []string{"pub", "-f", file, "orders", "--format", "json"}, 1, `standard input:2: json: unknown field "bdoy"; want a JSON object with id, key, headers, and body or base64`},
		"two bodies":    {`{"body":"x","base64":"/w=="}`, []string{"pub", "-f", file, "orders", "--format", "json"}, 1, "both given"},
		"header":        {"x\n", []string{"pub", "-f", file, "orders", "--header", "waybill-x=1"}, 1, "library's own"},
		"subscription":  {"", []string{"sub", "-f", file, "biling"}, 2, `did you mean "billing"?`},
		"count":         {"", []string{"sub", "-f", file, "billing", "--count", "-1"}, 2, "count -1 is negative"},
		"no lag":        {"", []string{"lag", "-f", silent}, 3, "cannot tell a backlog"},
		"dlq command":   {"", []string{"dlq", "lst"}, 2, `unknown command "lst"; did you mean "list"?; waybill dlq --help`},
		"dlq topic":     {"", []string{"dlq", "list", "-f", file, "deed"}, 2, `did you mean "dead"?`},
		"dlq of events": {"", []string{"dlq", "show", "-f", file, "orders"}, 2, "no dead-letter topic"},
		"dlq age":       {"", []string{"dlq", "list", "-f", file, "--min-age", "2h", "--max-age", "1h"}, 2, "nothing is so old"},
		"dlq ages":      {"", []string{"dlq", "list", "-f", file, "--min-age", "-2h"}, 2, "negative"},
		"dlq messages":  {"", []string{"dlq", "list", "-f", file, "--messages", "-1"}, 2, "negative"},
		"dlq count":     {"", []string{"dlq", "show", "-f", file, "dead", "--count", "0"}, 2, "count 0"},
		"dlq rate":      {"", []string{"dlq", "redrive", "-f", file, "dead", "--rate", "-1"}, 2, "negative"},
		"dlq to":        {"", []string{"dlq", "redrive", "-f", file, "dead", "--to", "ordres"}, 2, `did you mean "orders"?`},
		"dlq nowhere":   {"", []string{"dlq", "redrive", "-f", file}, 2, "usage: waybill dlq redrive TOPIC"},
		"dlq nothing":   {"", []string{"dlq", "show", "-f", made, "dead", "--quiet", "1ms"}, 1, "no dead letter like that"},
		"lag of all":    {"", []string{"lag", "-f", file, "live"}, 3, "is a broadcast"},
		"lag too soon":  {"", []string{"lag", "-f", unmade}, 1, `topic "orders" does not exist`},
		"lag of no one": {"", []string{"lag", "-f", file, "billing", "biling"}, 2, `no subscription "biling"; did you mean "billing"?`},
		"lag of others": {"", []string{"lag", "-f", file, "zzzzzzz"}, 2, `no subscription "zzzzzzz"; it has: billing, live`},
		"lag of topic":  {"", []string{"lag", "-f", file, "orders"}, 2, `no subscription "orders", it is a topic; its subscriptions: billing, live`},
		"pub to reader": {"", []string{"pub", "-f", file, "billing"}, 2, `no topic "billing", it is a subscription; its topic: orders`},
		"dlq of reader": {"", []string{"dlq", "list", "-f", file, "billing"}, 2, `it is a subscription; its dead letters go to: dead`},
		"dlq to itself": {"", []string{"dlq", "redrive", "-f", file, "dead", "--to", "dead"}, 2, "is where the letters are"},
		"dlq group":     {"", []string{"dlq", "show", "-f", made, "dead", "--quiet", "1ms", "--group", "biling"}, 1, `note: no subscription of ` + made + ` is of group "biling"; did you mean "billing"?`},
		"dlq source":    {"", []string{"dlq", "redrive", "-f", made, "dead", "--quiet", "1ms", "--source", "ordres"}, 0, `is of topic "ordres"; did you mean "orders"?`},
		"dlq missing":   {"", []string{"dlq", "list", "-f", silent, "--quiet", "1ms"}, 1, `topic "dead" does not exist`},
		"dlq unmade":    {"", []string{"dlq", "redrive", "-f", silent, "dead", "--quiet", "1ms"}, 1, "nothing was declared: waybill apply makes what the file names"},
		"dlq to unmade": {"", []string{"dlq", "redrive", "-f", silent, "dead", "--to", "orders", "--dry-run"}, 1, `topic "orders" does not exist`},
	} {
		code, out, errs := command(t, c.in, c.args...)
		if code != c.code || strings.Count(errs, c.want) != 1 {
			t.Errorf("%s: exit %d, %s; want %d, %q once", name, code, errs, c.code, c.want)
		}
		if (code == 2 || (c.args[0] == "dlq" || c.args[0] == "lag") && code == 1) && out != "" && c.args[0] != "pub" {
			t.Errorf("%s: it printed %s", name, out)
		}
	}
	// Whatever was asked of dead letters made nothing.
	if _, out, errs := command(t, "", "plan", "-f", silent); strings.Contains(out, "keep  ") {
		t.Errorf("something was made: %s%s", out, errs)
	}
}

// A plan that fails says each problem once, whichever way it is read.
func TestPlanSaysEachProblemOnce(t *testing.T) {
	t.Parallel()
	file := write(t, "like=sqs")
	for _, args := range [][]string{{"plan"}, {"apply"}, {"plan", "-o", "json"}, {"apply", "-o", "json"}} {
		code, out, errs := command(t, "", append(args, "-f", file)...)
		n := 0
		for _, key := range []string{"topics.orders.ordered: needs", "subscriptions.billing.topic: needs", "subscriptions.live.topic: needs"} {
			n += strings.Count(out+errs, key)
		}
		if code != 3 || n != 3 || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: exit %d, problems %d times:\n%s%s", args, code, n, out, errs)
		}
	}
}

// A reader that goes away loses nothing: what could not be printed goes back.
func TestClosedPipe(t *testing.T) {
	t.Parallel()
	file := write(t, "")
	command(t, "", "apply", "-f", file)
	command(t, "one\n", "pub", "-f", file, "orders")
	var errs bytes.Buffer
	reader, writer := io.Pipe()
	reader.Close()
	if code := run(t.Context(), []string{"sub", "-f", file, "billing"}, strings.NewReader(""), writer, &errs); code != 1 {
		t.Errorf("exit %d, %s", code, &errs)
	}
	if _, out, _ := command(t, "", "sub", "-f", file, "billing", "--count", "1"); out != "one\n" {
		t.Errorf("the message came back as %q", out)
	}
}

// Ctrl-C in the middle of publishing: what was taken is confirmed, and it is told.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	file := write(t, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	reader, writer := io.Pipe()
	go func() {
		writer.Write([]byte("one\n"))
		writer.Write([]byte("two\n")) // returns when the first was read
		cancel(errors.New("interrupted"))
		writer.Write([]byte("three\n"))
		writer.Close()
	}()
	var out, errs bytes.Buffer
	code := run(ctx, []string{"pub", "-f", file, "orders"}, reader, &out, &errs)
	if code != 1 || !strings.Contains(out.String(), "published") || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit %d, %s%s", code, &out, &errs)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	file := write(t, "")
	if code, out, _ := command(t, "", "__complete", "sub", "-f", file, ""); code != 0 || !strings.Contains(out, "billing") {
		t.Errorf("exit %d, got %s", code, out)
	}
	if code, out, _ := command(t, "", "completion", "bash"); code != 0 || !strings.Contains(out, "waybill") {
		t.Errorf("exit %d, got %.80s", code, out)
	}
}

// A broker in memory that nobody has open is gone with the command, which says so.
func TestMemoryOfTheCommandAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "alone.yaml")
	text := strings.NewReplacer("NAME", "alone", "PARAMS", "").Replace(shop)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "note: memory://alone is a broker of this command alone"
	for _, args := range [][]string{{"apply"}, {"pub", "orders"}, {"lag"}, {"dlq", "list"}} {
		if _, _, errs := command(t, "", append(args, "-f", path)...); strings.Count(errs, want) != 1 {
			t.Errorf("%q: %s", args, errs)
		}
	}
	if _, _, errs := command(t, "", "plan", "-f", path); errs != "" {
		t.Errorf("plan: %s", errs)
	}
}
