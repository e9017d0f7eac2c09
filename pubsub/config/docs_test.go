package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/pubsub/config"
)

const page = "../../docs/config.md"

// TestDocumentation reads the page's examples: files must load, what is said to be
// wrong must fail with what the page says, and code is that of the examples here.
func TestDocumentation(t *testing.T) {
	for name, value := range map[string]string{"HOME_REGION": "eu", "BROKER_PASSWORD": "x"} {
		t.Setenv(name, value)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var last string
	counts := map[string]int{}
	for _, m := range regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		kind, block := m[1], m[2]
		counts[kind]++
		switch kind {
		case "yaml":
			if _, err := config.Parse("shop.yaml", []byte(block)); err != nil {
				t.Errorf("this does not load: %v\n%s", err, block)
			}
		case "yaml wrong":
			last = block
		case "text wrong":
			if _, err := config.Parse("shop.yaml", []byte(last)); err == nil || err.Error()+"\n" != block {
				t.Errorf("the page says\n%s\nit is\n%v", block, err)
			}
		case "text plan":
			shop, err := os.ReadFile("testdata/plan/plan-sqs.txt")
			if err != nil || !strings.Contains(string(shop), strings.TrimSuffix(block, "...\n")) {
				t.Errorf("this is not what a plan says (%v):\n%s", err, block)
			}
		case "go ignore":
			for line := range strings.Lines(block) {
				if !strings.Contains(string(examples), strings.Replace(strings.TrimSpace(line), `"shop.yaml"`, `"testdata/shop.yaml"`, 1)) {
					t.Errorf("example_test.go does not have: %s", line)
				}
			}
		}
	}
	for _, kind := range []string{"yaml", "yaml wrong", "text wrong", "text plan", "go ignore"} {
		if counts[kind] == 0 {
			t.Errorf("the page has no block %q", kind)
		}
	}
}

// TestEveryKeyIsDocumented compares the page with the schema.
func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?s)"properties": \{(.*?)\n {4,6}\}`).FindAllStringSubmatch(string(schema), -1) {
		for _, key := range regexp.MustCompile(`(?m)^ {4,8}"([a-z-]+)": \{`).FindAllStringSubmatch(m[1], -1) {
			if !strings.Contains(string(text), key[1]+":") && !strings.Contains(string(text), "`"+key[1]+"`") {
				t.Errorf("the page does not have the key %q", key[1])
			}
		}
	}
}
