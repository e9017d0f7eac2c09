package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	_ "github.com/waybill-go/waybill/drivers/memory" // registers memory://
	"github.com/waybill-go/waybill/pubsub"
)

// environment is what tests have instead of the process's.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"WORKERS": "4", "EMPTY": "", "KIND": "letter", "PASSWORD": "hunter2", "ODD": "a: [b", "TRUE": "true",
	}[name]
	return value, ok
}

// base is a file without faults, for tests to add to.
const base = `brokers: {main: {url: memory://load}}
topics: {orders: {}, tasks: {kind: queue}, dead: {kind: queue}}
`

func TestWrongFiles(t *testing.T) {
	t.Parallel()
	sub := func(rest string) string {
		return base + "subscriptions:\n  billing:\n    topic: orders\n    group: billing\n" + rest
	}
	drop := "    drop-permanent: true\n"
	for name, c := range map[string]struct{ text, want string }{
		"nothing":            {"", "f.yaml: the file is empty"},
		"comments alone":     {"# nothing\n", "f.yaml: the file is empty"},
		"tabs":               {"brokers:\n\tmain: {url: memory://x}\n", "f.yaml:2:1: not YAML: found character that cannot start any token; indent with spaces, not with tabs"},
		"syntax":             {"brokers: [\n", "f.yaml:2:1: not YAML: "},
		"two documents":      {base + "---\n" + base, "not YAML: yaml: expected single document"},
		"a list":             {"- a\n", "f.yaml:1:1: want keys and values"},
		"bytes":              {"a: \xff\n", "not YAML"},
		"no broker":          {"topics: {orders: {}}", "names no broker"},
		"misspelt section":   {base + "topcis: {}\n", `f.yaml:3:1: topcis: unknown key; did you mean "topics"?`},
		"misspelt key":       {sub(drop + "    concurency: 4\n"), `f.yaml:8:5: subscriptions.billing.concurency: unknown key; did you mean "concurrency"?`},
		"unknown key":        {sub(drop + "    zzz: 4\n"), "unknown key; known: topic, group"},
		"key twice":          {sub(drop + drop), "f.yaml:8:5: subscriptions.billing.drop-permanent: is given twice"},
		"merge key":          {sub(drop + "    <<: {}\n"), "<< is not known here"},
		"tag":                {sub(drop + "    lease: !!str 3s\n"), "has a tag"},
		"empty name":         {base + `subscriptions: {"": {}}`, "a name is empty"},
		"key of keys":        {base + `subscriptions: {? {a: b} : c}`, "a key is not a word"},
		"text for a section": {sub(drop + "    retry: 3s\n"), "f.yaml:8:12: subscriptions.billing.retry: want keys and values, one a line and indented; keys: min, max, factor, jitter"},
		"list for a text":    {sub(drop + "    lease: [3s]\n"), "is a list or a section; want a duration"},
		"empty value":        {sub(drop + "    lease:\n"), "is empty; want a duration such as 500ms, 30s or 2h, or leave the key out"},
		"word for a number":  {sub(drop + "    concurrency: many\n"), `f.yaml:8:18: subscriptions.billing.concurrency: is "many"; want a whole number`},
		"number in quotes":   {sub(drop + "    concurrency: '4'\n"), "want a whole number, 1 or more, without quotes"},
		"zero":               {sub(drop + "    concurrency: 0\n"), `is "0"; want a whole number, 1 or more`},
		"number too large":   {sub(drop + "    concurrency: 99999999999999999999\n"), "want a whole number"},
		"not a duration":     {sub(drop + "    lease: 30\n"), `is "30"; want a duration`},
		"negative duration":  {sub(drop + "    settle: {linger: -1s}\n"), `is "-1s"; want a duration such as 5ms, or 0s`},
		"not a size":         {sub(drop + "    in-flight: {bytes: 1MiBB}\n"), "want a size such as"},
		"size too large":     {sub(drop + "    in-flight: {bytes: 9999999999GiB}\n"), "want a size such as"},
		"not a share":        {sub(drop + "    retry: {jitter: NaN}\n"), "want a number from 0 to 1"},
		"not a factor":       {sub(drop + "    retry: {factor: 0.5}\n"), "want a number, 1 or more"},
		"yes for true":       {sub("    drop-permanent: yes\n"), `is "yes"; want true or false`},
		"misspelt word":      {"brokers: {main: {url: memory://x}}\ntopics: {orders: {kind: evnet}}", `f.yaml:2:25: topics.orders.kind: is "evnet"; want one of event, queue; did you mean "event"?`},
		"unset variable":     {sub(drop + "    lease: ${LEASE}\n"), "f.yaml:8:12: subscriptions.billing.lease: environment variable LEASE is not set"},
		"unfinished":         {sub(drop + "    lease: ${LEASE\n"), "has a ${ without its }"},
		"odd reference":      {sub(drop + "    lease: ${LEASE:?no}\n"), "neither ${NAME} nor ${NAME:-text}"},
		"nested reference":   {sub(drop + "    lease: ${A:-${B}}\n"), "neither ${NAME} nor ${NAME:-text}"},
		"variable is wrong":  {"brokers: {main: {url: memory://x}}\ntopics: {orders: {kind: '${KIND}'}}", `is "${KIND}"; want one of event, queue`},
		"structure from it":  {base + "defaults: ${ODD}\n", "want keys and values"},
		"plain password":     {"brokers: {main: {url: memory://x, user: u, password: hunter2}}", "password: is not one; want a reference to a secret: file:PATH or env:NAME"},

		"no url":              {"brokers: {main: }", "brokers.main.url: is missing"},
		"no URL":              {"brokers: {main: {url: localhost}}", "is not a URL"},
		"URL does not parse":  {"brokers: {main: {url: 'memory://u:hunter2/@%%'}}", "is not a URL"},
		"user twice":          {"brokers: {main: {url: memory://u@x, user: v}}", "the url names a user too"},
		"password twice":      {"brokers: {main: {url: 'memory://u:hunter2@x', password: env:P}}", "the url has a password too"},
		"nobody's password":   {"brokers: {main: {url: memory://x, password: env:P}}", "is nobody's; give a user"},
		"parameter twice":     {"brokers: {main: {url: 'memory://x?lease=3s', params: {lease: 3s}}}", "brokers.main.params.lease: the url has this parameter too"},
		"secret twice":        {"brokers: {main: {url: memory://x, params: {lease: 3s}, secrets: {lease: env:L}}}", "brokers.main.secrets.lease: the url or params have"},
		"reconnect backwards": {"brokers: {main: {url: memory://x, reconnect: {min: 3s, max: 1s}}}", "reconnect.max: 1s is below min, 3s"},

		"broker that is not there":  {base + "broker: mian\n", `f.yaml:3:1: broker: there is no broker "mian"; did you mean "main"?`},
		"topic's broker":            {"brokers: {main: {url: memory://x}}\ntopics: {orders: {broker: mian}}", `topics.orders.broker: there is no broker "mian"`},
		"which broker":              {"brokers: {a: {url: memory://x}, b: {url: memory://y}}\ntopics: {orders: }", "topics.orders: names none of the brokers"},
		"one topic under two names": {"brokers: {main: {url: memory://x}}\ntopics: {orders: {}, sales: {name: orders}}", `topics.sales.name: is the same topic "orders" on the broker as topics.orders`},
		"settings without driver":   {"brokers: {main: {url: memory://x}}\ntopics: {orders: {settings: {kafak: {a: b}}}}", `topics.orders.settings.kafak: no driver with settings "kafak" is linked in`},
		"settings of memory":        {"brokers: {main: {url: memory://x}}\ntopics: {orders: {settings: {memory: {a: b}}}}", `the driver of "memory" has no settings`},

		"no topic":             {base + "subscriptions: {billing: {group: b}}", "subscriptions.billing.topic: is missing"},
		"misspelt topic":       {base + "subscriptions: {billing: {topic: ordres}}", `there is no topic "ordres"; did you mean "orders"?`},
		"no group":             {base + "subscriptions: {billing: {topic: orders, drop-permanent: true}}", "subscriptions.billing: names no group"},
		"group and broadcast":  {sub(drop + "    broadcast: true\n"), "contradicts group"},
		"group of a queue":     {base + "subscriptions: {billing: {topic: tasks, group: b, drop-permanent: true}}", `group: topic "tasks" is a queue`},
		"broadcast of a queue": {base + "subscriptions: {billing: {topic: tasks, broadcast: true, drop-permanent: true}}", `broadcast: topic "tasks" is a queue`},
		"same group twice":     {sub(drop + "  audit: {topic: orders, group: billing, drop-permanent: true}\n"), "subscriptions.audit.group: reads what subscriptions.billing reads"},
		"no poison":            {sub(""), "f.yaml:4:3: subscriptions.billing: does not say what becomes of messages that fail permanently"},
		"both poisons":         {sub(drop + "    dead-letter: {topic: dead}\n"), "drop-permanent: contradicts dead-letter"},
		"dead letter nowhere":  {sub("    dead-letter: {by: middleware}\n"), "dead-letter: names no topic"},
		"dead letter misspelt": {sub("    dead-letter: {topic: dedd}\n"), `there is no topic "dedd"; did you mean "dead"?`},
		"dead letter to event": {sub("    dead-letter: {topic: orders}\n"), "is not of kind queue"},
		"dead letter itself":   {base + "subscriptions: {work: {topic: tasks, dead-letter: {topic: tasks}}}", `would come back to topic "tasks" for ever`},
		"dead letter circle":   {base + "subscriptions: {a: {topic: tasks, dead-letter: {topic: dead}}, b: {topic: dead, dead-letter: {topic: tasks}}}", "for ever"},
		"timeout of no one":    {sub("    dead-letter: {topic: dead, by: broker, timeout: 3s}\n"), "timeout: is the middleware's"},
		"retry backwards":      {sub(drop + "    retry: {min: 3s, max: 1s}\n"), "retry.max: 1s is below min, 3s"},
		"in place, how often":  {sub(drop + "    retry-in-place: {min: 3s}\n"), "give attempts"},
		"timeout too long":     {sub(drop + "    timeout: 2h\n    max-handling: 1h\n"), "timeout: 2h0m0s is beyond max-handling, 1h0m0s"},
		"idle handlers":        {sub(drop + "    concurrency: 9\n    in-flight: {messages: 8}\n"), "9 handlers cannot be busy"},
		"inherited circle":     {base + "defaults: {subscription: {dead-letter: {topic: dead}}}\nsubscriptions: {last: {topic: dead}}", "say drop-permanent: true here"},
	} {
		_, err := parse("f.yaml", []byte(c.text), environment)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.File != "f.yaml" || pubsub.CodeOf(err) != pubsub.CodeInvalid {
			t.Errorf("%s: got %T, %v; want an Error of the file with CodeInvalid", name, err, pubsub.CodeOf(err))
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "letter\"") {
			t.Errorf("%s: %v tells what the environment or a password is", name, err)
		}
	}
}

// All faults are told, in the order of the file.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	text := base + "subscriptions:\n  a: {topic: orders, group: a, concurrency: x}\n  b: {topik: orders}\n"
	_, err := parse("f.yaml", []byte(text), environment)
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "f.yaml:4:") || !strings.HasPrefix(lines[1], "f.yaml:5:7: subscriptions.b.topik") {
		t.Errorf("got %q", lines)
	}
}

func TestAliasesDoNotExplode(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("brokers:\n  a: &b\n    url: memory://x\n    params: &p {")
	for i := range 1000 {
		fmt.Fprintf(&b, "k%d: v, ", i)
	}
	b.WriteString("}\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  b%d: *b\n", i)
	}
	if _, err := parse("f.yaml", []byte(b.String()), environment); err == nil || !strings.Contains(err.Error(), "more than 100000 values") {
		t.Errorf("got %.200v", err)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	c, err := parse("f.yaml", []byte(`
brokers:
  main: {url: "memory://${HOST:-here}", reconnect: {jitter: 0}}
topics:
  orders: &event {ordered: "${TRUE}", publish: {limit: {bytes: 64KiB}, batch: {linger: 0s}}}
  sales: *event
  123: {name: "$${plain}$", kind: "${EMPTY:-queue}"}
defaults:
  topic: {ordered: true}
  subscription: {concurrency: "${WORKERS}", dead-letter: {topic: '123'}, retry: {min: 2s, factor: 1.5}}
subscriptions:
  a: {topic: orders, group: a, retry: {max: 1m}}
  b: {topic: sales, group: b, drop-permanent: true, concurrency: 2}
`), environment)
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.doc.Subscriptions["a"], c.doc.Subscriptions["b"]
	odd := c.doc.Topics["123"]
	switch {
	case c.doc.Brokers["main"].URL != "memory://here" || c.doc.Brokers["main"].Reconnect.Jitter != -1:
		t.Errorf("broker: %+v", c.doc.Brokers["main"])
	case odd.Name != "${plain}$" || odd.Kind != "queue" || !odd.Ordered:
		t.Errorf("topic 123: %+v", odd)
	case c.doc.Topics["sales"].Publish.Limit.Bytes != 64<<10 || c.doc.Topics["sales"].Publish.Batch.Linger != -1:
		t.Errorf("topic sales: %+v", c.doc.Topics["sales"])
	case a.Concurrency != 4 || a.Retry != (backoff{Min: 2e9, Max: 60e9, Factor: 1.5}) || a.DeadLetter.Topic != "123":
		t.Errorf("subscription a: %+v", a)
	case b.Concurrency != 2 || b.DeadLetter != (deadLetter{}):
		t.Errorf("subscription b: %+v", b)
	}
	if got := fmt.Sprint(c.Topics(), c.Subscriptions()); got != "[orders sales 123] [a b]" {
		t.Errorf("names: %s", got)
	}
}

// A URL may have no host, as snssqs:// and gocloud:// do.
func TestURLWithoutHost(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]string{
		"{url: 'snssqs://'}":                                     "snssqs://",
		"{url: 'snssqs://', params: {wait: 1s}}":                 "snssqs://?wait=1s",
		"{url: 'snssqs://?wait=1s'}":                             "snssqs://?wait=1s",
		"{url: 'gocloud:///', params: {topic: 'mem://{topic}'}}": "gocloud:///?topic=mem%3A%2F%2F%7Btopic%7D",
	} {
		c, err := parse("f.yaml", []byte("brokers: {main: "+written+"}"), environment)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := c.address("main"); err != nil || a.url != want {
			t.Errorf("%s: got %q, %v; want %q", written, a.url, err, want)
		}
	}
}

func TestFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	if _, err := Load("testdata/nowhere.yaml"); pubsub.CodeOf(err) != pubsub.CodeNotFound || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// FuzzParse: no file makes the loader panic, and whatever it refuses is an Error.
func FuzzParse(f *testing.F) {
	shop, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shop)
	f.Add([]byte(base + "subscriptions: {a: {topic: tasks, dead-letter: {topic: dead}, lease: ${X:-3s}}}"))
	f.Add([]byte("a: &a [*a]\n? {x: y}\n: z\n<<: *a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse("f.yaml", text, environment)
		var e *Error
		switch {
		case err != nil && !errors.As(err, &e):
			t.Errorf("got %T: %v", err, err)
		case err == nil && c.doc.Broker == "" && len(c.Topics()) > 0 && len(c.doc.Brokers) < 2:
			t.Error("topics without a broker")
		}
	})
}

// Where the brokers are that topics are on is told without what is secret.
func TestPlaces(t *testing.T) {
	t.Parallel()
	c, err := Parse("f.yaml", []byte(`
broker: main
brokers: {main: {url: "memory://shop?lease=3s"}, idle: {url: "memory://idle"}, old: {url: "memory://ada:hunter2@old"}}
topics: {orders: {}, sales: {broker: old}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.Places()); got != "[memory://shop memory://old]" {
		t.Error(got)
	}
}
