package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// mainVariable makes this test binary the command.
const mainVariable = "BROKERS_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// brokers runs the command as a user does.
func brokers(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), mainVariable+"=1")
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

func TestRunSetsTheEnvironmentAndPassesTheExitCodeOn(t *testing.T) {
	t.Parallel()
	out, code := brokers(t, "run", "snssqs", "--", "sh", "-c", `echo "at $WAYBILL_SNSSQS_URL $WAYBILL_SNSSQS_1_5_URL"; exit 7`)
	if strings.Contains(out, "is not installed") {
		t.Skip(out)
	}
	if code != 7 || strings.Count(out, "at snssqs://us-east-1?endpoint=http://127.0.0.1:") != 1 {
		t.Errorf("exit code %d, %s", code, out)
	}
}

func TestRunNeedsNoNames(t *testing.T) {
	t.Parallel()
	if out, code := brokers(t, "run", "--", "sh", "-c", `test -n "$WAYBILL_BROKERS_OWNER"`); code != 0 {
		t.Errorf("exit code %d, %s", code, out)
	}
}

func TestRunPassesSignalsOn(t *testing.T) {
	t.Parallel()
	out, code := brokers(t, "run", "snssqs", "--", "sh", "-c", `trap 'exit 9' TERM; kill -TERM $PPID; while :; do sleep 0.1; done`)
	if strings.Contains(out, "is not installed") {
		t.Skip(out)
	}
	if code != 9 {
		t.Errorf("exit code %d, %s", code, out)
	}
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "usage:"},
		{[]string{"start"}, `there is no "start"`},
		{[]string{"run", "kafka"}, "write -- and a command"},
		{[]string{"run", "pigeon", "--", "true"}, `there is no broker "pigeon"`},
		{[]string{"run", "rabbitmq@", "--", "true"}, "names no version"},
		{[]string{"install"}, "no broker is named"},
	} {
		if out, code := brokers(t, c.args...); code != 2 || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, code, out)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	if out, code := brokers(t, "list"); code != 0 || !strings.Contains(out, "rabbitmq") || !strings.Contains(out, "snssqs") {
		t.Errorf("exit code %d, %s", code, out)
	}
}
