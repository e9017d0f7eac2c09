package pubsubtest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// RunRecorded runs one case aside, so that its failure can be expected.
func RunRecorded(t *testing.T, h Harness, name string) (failed, skipped bool, output string) {
	t.Helper()
	all := Cases()
	i := slices.IndexFunc(all, func(c Case) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no case %q", name)
	}
	r := &recorded{TB: t}
	runRecorded(r, func() { runCase(r, h.withDefaults(), all[i]) })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed, r.skipped, strings.Join(r.log, "\n")
}

// RunStorm runs a storm aside, so that its failure can be expected.
func RunStorm(t *testing.T, s Storm) (failed bool, output string) {
	t.Helper()
	r := &recorded{TB: t}
	runRecorded(r, func() { s.Run(r) })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed, strings.Join(r.log, "\n")
}

func runRecorded(r *recorded, run func()) {
	apart(run)
	for len(r.after) > 0 {
		last := len(r.after) - 1
		f := r.after[last]
		r.after = r.after[:last]
		apart(f)
	}
}

// apart runs f in a goroutine that FailNow may end.
func apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// recorded is a testing.TB whose failures are noted.
type recorded struct {
	testing.TB
	mu              sync.Mutex
	failed, skipped bool
	log             []string
	after           []func()
}

func (r *recorded) note(fail bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || fail
	r.log = append(r.log, text)
}

func (r *recorded) Helper()                           {}
func (r *recorded) Log(args ...any)                   { r.note(false, fmt.Sprint(args...)) }
func (r *recorded) Logf(format string, args ...any)   { r.note(false, fmt.Sprintf(format, args...)) }
func (r *recorded) Error(args ...any)                 { r.note(true, fmt.Sprint(args...)) }
func (r *recorded) Errorf(format string, args ...any) { r.note(true, fmt.Sprintf(format, args...)) }
func (r *recorded) Fail()                             { r.note(true, "failed") }

func (r *recorded) FailNow() {
	r.Fail()
	runtime.Goexit()
}

func (r *recorded) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *recorded) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorded) Skip(args ...any) {
	r.Log(args...)
	r.SkipNow()
}

func (r *recorded) SkipNow() {
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recorded) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorded) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = append(r.after, f)
}
