package recipe

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// emulators looks for the Pub/Sub emulator of the Google Cloud CLI, and for Java.
func emulators() []Installation {
	if _, err := exec.LookPath("java"); err != nil {
		return nil
	}
	roots := []string{"/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk", "/usr/local/google-cloud-sdk"}
	if home, err := os.UserHomeDir(); err == nil {
		roots = append(roots, filepath.Join(home, "google-cloud-sdk"))
	}
	if path, err := exec.LookPath("gcloud"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			roots = append(roots, filepath.Dir(filepath.Dir(path)))
		}
	}
	for _, root := range roots {
		paths, err := filepath.Glob(filepath.Join(root, "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"))
		if err != nil || len(paths) == 0 {
			continue
		}
		jar := paths[len(paths)-1]
		version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(jar), "cloud-pubsub-emulator-"), "-all.jar")
		return []Installation{{Kind: GCPPubSub, Version: version, Path: jar}}
	}
	return nil
}

// Project is the project that tests use on the emulator, which takes any.
const Project = "waybill-test"

func emulator(i Installation, s Setting) (*Plan, error) {
	if s.Nodes > 1 {
		return nil, fmt.Errorf("Google's emulator is one process, not %d nodes", s.Nodes)
	}
	port, err := s.Port()
	if err != nil {
		return nil, err
	}
	address := loopback(port)
	return &Plan{
		URL: "gcppubsub://" + Project + "?emulator=" + address, Addresses: []string{address},
		Nodes: []Node{{
			Command: Command{
				Path: "java", Dir: s.Dir, Env: environment(s.Dir, nil),
				Args: []string{
					"-XX:-UsePerfData", "-XX:+UseSerialGC", "-Xmx512m", "-Djava.io.tmpdir=" + s.Dir,
					"-jar", i.Path, "--host=127.0.0.1", fmt.Sprintf("--port=%d", port),
				},
			},
			Ready: func(ctx context.Context) error { return httpReady(ctx, "http://"+address+"/") },
		}},
	}, nil
}

// httpReady wants an answer to a GET.
func httpReady(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}
