package supply_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
	"github.com/waybill-go/waybill/testing/brokers/internal/supply"
)

// programs puts scripts in the place of the system's programs. Each notes how it was
// called; the notes are returned by the function.
func programs(t *testing.T, scripts map[string]string) func() string {
	t.Helper()
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes")
	for name, script := range scripts {
		text := "#!/bin/sh\necho " + name + " \"$@\" >>" + notes + "\n" + script + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	return func() string {
		text, err := os.ReadFile(notes)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// install installs a broker and returns what was told to people.
func install(t *testing.T, want recipe.Want) (string, error) {
	t.Helper()
	var told bytes.Buffer
	err := (&supply.Installer{Out: &told}).Install(t.Context(), want)
	return told.String(), err
}

var floating = regexp.MustCompile(`<version>[^<]*(LATEST|RELEASE|SNAPSHOT|[\[(,])`)

// What Maven fetches has exact versions, and checksums that are looked at.
func TestKafkaIsPinnedAndChecked(t *testing.T) {
	notes := programs(t, map[string]string{"java": "", "mvn": `while [ "$1" != -f ]; do shift; done; cat "$2"`})
	told, err := install(t, recipe.Want{Kind: recipe.Kafka})
	if err != nil || !strings.Contains(told, "here now") {
		t.Fatalf("%v\n%s", err, told)
	}
	if got := notes(); !strings.Contains(got, "mvn") || !strings.Contains(got, "--strict-checksums") {
		t.Errorf("called: %s", got)
	}
	found, err := recipe.Find(recipe.Want{Kind: recipe.Kafka})
	if err != nil {
		t.Fatal(err)
	}
	pom, err := os.ReadFile(filepath.Join(found.Path, "pom.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if floating.Match(pom) || strings.Count(string(pom), "<version>"+found.Version+"</version>") != 2 {
		t.Errorf("the versions are not exact:\n%s", pom)
	}
	if told, err = install(t, recipe.Want{Kind: recipe.Kafka}); err != nil || strings.Contains(told, "mvn") {
		t.Errorf("a second time: %v\n%s", err, told)
	}
}

// What fails halfway is no installation.
func TestHalfIsNothing(t *testing.T) {
	programs(t, map[string]string{"java": "", "mvn": "echo no such artifact; exit 3"})
	if _, err := install(t, recipe.Want{Kind: recipe.Kafka}); err == nil || !strings.Contains(err.Error(), "no such artifact") {
		t.Errorf("got %v", err)
	}
	if found, err := recipe.Find(recipe.Want{Kind: recipe.Kafka}); err == nil {
		t.Errorf("found %+v", found)
	}
}

// A Debian in a folder is one whose signature was looked at.
func TestDebianIsSigned(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a root file system can be made by root only")
	}
	notes := programs(t, map[string]string{"debootstrap": `for last; do :; done; mkdir -p "$last/etc"`})
	_, err := install(t, recipe.Want{Kind: recipe.RabbitMQ, Version: "4.3"})
	if err == nil || !strings.Contains(err.Error(), "is not installed") { // nothing is in the folder
		t.Errorf("got %v", err)
	}
	if got := notes(); !strings.Contains(got, "--force-check-gpg") || !strings.Contains(got, "sid") {
		t.Errorf("called: %s", got)
	}
}

// Those who have Docker get the versions that the others get.
func TestComposeHasTheSameVersions(t *testing.T) {
	compose, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	programs(t, map[string]string{"java": "", "mvn": ""})
	if _, err := install(t, recipe.Want{Kind: recipe.Kafka}); err != nil {
		t.Fatal(err)
	}
	kafka, err := recipe.Find(recipe.Want{Kind: recipe.Kafka})
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{"apache/kafka:" + kafka.Version, "rabbitmq:4.3", "rabbitmq:3.10"} {
		if !strings.Contains(string(compose), "image: "+image+"\n") {
			t.Errorf("compose.yaml lacks %s", image)
		}
	}
	for _, line := range strings.Split(string(compose), "\n") {
		if strings.Contains(line, "ports:") && !strings.Contains(line, `["127.0.0.1:`) {
			t.Errorf("this listens beyond the loopback interface: %s", line)
		}
	}
}
