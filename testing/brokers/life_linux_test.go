package brokers_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-go/waybill/testing/brokers"
)

// childVariable makes this test binary a program that starts a broker, says its URL, and
// waits.
const childVariable = "BROKERS_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		b, err := brokers.Start(context.Background(), name)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if strings.HasPrefix(name, "rabbitmq") {
			if _, err := b.Admin(context.Background(), "list_queues"); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		fmt.Println(b.URL)
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child starts a program that has a broker; env replaces variables.
func child(t *testing.T, name string, env ...string) (cmd *exec.Cmd, url string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childVariable+"="+name, "WAYBILL_BROKERS_OWNER="), env...)
	for _, v := range []string{"RABBITMQ", "RABBITMQ_3_10", "RABBITMQ_4_3", "KAFKA", "GCPPUBSUB", "SNSSQS"} {
		cmd.Env = append(cmd.Env, "WAYBILL_"+v+"_URL=")
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line = strings.TrimSpace(line); strings.Contains(line, "is not installed") {
		t.Skip(line)
	} else if !strings.Contains(line, "://") {
		t.Fatal(line)
	}
	return cmd, line
}

// instances lists the processes that belong to brokers of an owner.
func instances(owner int) []int {
	var list []int
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		env, err := os.ReadFile(path)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && pid != owner && bytes.Contains(env, fmt.Appendf(nil, "/%d-", owner)) && bytes.Contains(env, []byte("WAYBILL_BROKERS_")) {
			list = append(list, pid)
		}
	}
	return list
}

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("still not: %s", what)
		}
	}
}

// listening lists the local addresses, as the kernel writes them, at which processes listen,
// and by what. UDP is left out: Erlang 25 has a socket for sending for a moment now and then.
func listening(t *testing.T, pids []int) map[string]string {
	t.Helper()
	mine := map[string]string{}
	for _, pid := range pids {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:[") {
				args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				mine[strings.Trim(to, "socket:[]")] = strings.ReplaceAll(string(args), "\x00", " ")
			}
		}
	}
	list := map[string]string{}
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && mine[f[9]] != "" && f[3] == "0A" {
				list[strings.Split(f[1], ":")[0]] = line + mine[f[9]]
			}
		}
	}
	return list
}

var loopback = map[string]bool{
	"0100007F": true, "00000000000000000000000001000000": true, "0000000000000000FFFF00000100007F": true,
}

var every = []string{"rabbitmq@3.10", "rabbitmq@4.3", "kafka", "gcppubsub", "snssqs"}

func TestNothingOutlivesItsParentNorListensBeyondLoopback(t *testing.T) {
	t.Parallel()
	for _, name := range every {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, _ := child(t, name)
			pids := instances(cmd.Process.Pid)
			at := listening(t, pids)
			if len(pids) < 2 || len(at) == 0 {
				t.Fatalf("processes %v listen at %v: want some", pids, at)
			}
			for address, what := range at {
				if !loopback[address] {
					t.Errorf("something listens at %s: %s", address, what)
				}
			}
			cmd.Process.Kill()
			cmd.Wait()
			until(t, "all processes are gone", func() bool { return len(instances(cmd.Process.Pid)) == 0 })
		})
	}
}

func TestNothingOutlivesItsKeeper(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rabbitmq@4.3", "kafka"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd, _ := child(t, name)
			for _, pid := range instances(cmd.Process.Pid) {
				if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(string(args), os.Args[0]) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			until(t, "all processes are gone", func() bool {
				for _, pid := range instances(cmd.Process.Pid) {
					if state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); !bytes.Contains(state, []byte(") Z ")) {
						return false
					}
				}
				return true
			})
		})
	}
}

func TestSeveralRunsDoNotMeet(t *testing.T) {
	t.Parallel()
	_, one := child(t, "rabbitmq")
	_, two := child(t, "rabbitmq")
	if one == two {
		t.Errorf("two owners share %s", one)
	}
}

func TestProgramsOfOneOwnerShare(t *testing.T) {
	t.Parallel()
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Skip(err)
	}
	owner := fmt.Sprintf("WAYBILL_BROKERS_OWNER=%d-%s", os.Getpid(), strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[19])
	first, one := child(t, "snssqs", owner)
	first.Process.Kill()
	first.Wait()
	if _, two := child(t, "snssqs", owner); one != two {
		t.Errorf("one has %s, the other %s", one, two)
	}
}

// TestAsked is run by TestMissing in an environment of its own.
func TestAsked(t *testing.T) {
	if os.Getenv("BROKERS_TEST_ASKED") == "" {
		t.Skip("run by another test")
	}
	t.Log("address:", brokers.Kafka(t).URL)
}

func TestMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ env, want string }{
		"skip":    {"WAYBILL_KAFKA_URL=", "cmd/brokers install kafka"},
		"require": {"WAYBILL_REQUIRE_BROKERS=1", "--- FAIL"},
		"address": {"WAYBILL_KAFKA_URL=kafka://example.com:9092", "address: kafka://example.com:9092"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestAsked$", "-test.v")
			cmd.Env = append(os.Environ(), "BROKERS_TEST_ASKED=1", "XDG_CACHE_HOME="+t.TempDir(), "WAYBILL_KAFKA_URL=", "WAYBILL_REQUIRE_BROKERS=", "WAYBILL_BROKERS_SKIPPED=", c.env)
			if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), c.want) {
				t.Errorf("%s\nwant %q in it", out, c.want)
			}
		})
	}
}

// TestPackagesOfOneGoTestShare runs `go test` on a module with two packages, as users do.
func TestPackagesOfOneGoTestShare(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("go.mod", "module shop\n\ngo 1.26.0\n\nrequire github.com/waybill-go/waybill/testing/brokers v0.0.0\n\n"+
		"replace github.com/waybill-go/waybill/testing/brokers => "+here+"\n")
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		file(name+"/shop_test.go", "package "+name+"\n\nimport (\n\t\"testing\"\n\n\t\"github.com/waybill-go/waybill/testing/brokers\"\n)\n\n"+
			"func Test(t *testing.T) { t.Log(\"at\", brokers.SNSSQS(t).URL) }\n")
	}
	cmd := exec.Command("go", "test", "-v", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "WAYBILL_SNSSQS_URL=", "WAYBILL_BROKERS_OWNER=")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "is not installed") {
		t.Skip(string(out))
	}
	var urls []string
	for line := range strings.Lines(string(out)) {
		if _, url, ok := strings.Cut(line, " at "); ok {
			urls = append(urls, url)
		}
	}
	if err != nil || len(urls) != 2 || urls[0] != urls[1] {
		t.Errorf("%v, %q: want one address twice\n%s", err, urls, out)
	}
	until(t, "the broker ends with go test", func() bool { return len(instances(cmd.Process.Pid)) == 0 })
}
