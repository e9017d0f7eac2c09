package recipe

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// environments looks for ministack in a virtual environment of Python.
func environments(path string) []Installation {
	return []Installation{{Kind: SNSSQS, Version: strings.TrimPrefix(filepath.Base(path), "ministack-"), Path: path}}
}

// ministack plans an emulator of SNS and SQS. It takes any credentials; those in the
// URL are for tests only.
func ministack(i Installation, s Setting) (*Plan, error) {
	if s.Nodes > 1 {
		return nil, fmt.Errorf("ministack is one process, not %d nodes", s.Nodes)
	}
	port, err := s.Port()
	if err != nil {
		return nil, err
	}
	address := loopback(port)
	return &Plan{
		URL: "snssqs://us-east-1?endpoint=http://" + address + "&access-key=test&secret-key=test&message-bytes=262144&wait=1s", Addresses: []string{address},
		Nodes: []Node{{
			Command: Command{
				Path: filepath.Join(i.Path, "bin", "python"), Dir: s.Dir, Args: []string{filepath.Join(i.Path, "bin", "ministack")},
				Env: environment(s.Dir, map[string]string{
					"BIND_HOST": "127.0.0.1", "SERVICES": "sqs,sns", "GATEWAY_PORT": fmt.Sprint(port),
					"MINISTACK_REGION": "us-east-1", "PERSIST_STATE": "1", "STATE_DIR": filepath.Join(s.Dir, "state"),
				}),
			},
			Ready: func(ctx context.Context) error {
				return httpReady(ctx, "http://"+address+"/?Action=ListQueues&Version=2012-11-05")
			},
		}},
	}, nil
}
