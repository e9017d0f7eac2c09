package main

import (
	"strings"
	"testing"

	"github.com/waybill-go/waybill/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// TestMigration moves a service from each broker to another. The program counts by itself
// that nothing is lost.
func TestMigration(t *testing.T) {
	t.Parallel()
	program.On(t, func(t *testing.T, old program.Broker) {
		if old.URL != "" {
			old.Env = append(old.Env, "OLD_BROKER="+old.URL, "NEW_BROKER="+old.Next(t).URL)
		}
		out, err := program.Run(t.Context(), old)
		if err != nil || !strings.Contains(out, "the old broker is empty") || strings.Contains(out, " 0 from the new") {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log("\n" + out)
	})
}

// TestChangeThatFails: a file that cannot be used leaves the service as it was.
func TestChangeThatFails(t *testing.T) {
	t.Parallel()
	r := newRegister()
	s := newService(r.track, func(err error) { t.Error(err) })
	if err := s.change(t.Context(), "1-old.yaml"); err != nil {
		t.Fatal(err)
	}
	if err := s.change(t.Context(), "5-nowhere.yaml"); err == nil {
		t.Error("a file that is not there is no error")
	}
	if err := s.publish(t.Context(), Scan{Number: 1}); err != nil {
		t.Error(err)
	}
	if err := r.tracked.wait(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}
