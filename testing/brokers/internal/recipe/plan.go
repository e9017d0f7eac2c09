package recipe

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"strconv"
	"time"
)

// A Plan is how an instance of a broker runs: the processes, and how to tell that
// they are ready.
type Plan struct {
	URL       string   // for a driver; of the first node, or of all where its scheme can say so
	Addresses []string // host and port of each node
	TLS       *TLS     // where the instance offers it
	SASL      *SASL    // where the instance offers it
	Binds     []Bind   // what a root file system of its own needs from this one
	Helpers   []Node
	Prepare   []Command // run to their ends before anything starts
	Nodes     []Node
	// Admin is the broker's own tool for its operators, at a node.
	Admin func(node int, args []string) (Command, error)
}

// TLS is how to reach an instance over TLS.
type TLS struct {
	URL             string // as [Plan.URL]
	CA              string // file with the certificate that signed the server's
	ClientCert, Key string // files with a certificate for the user guest
}

// SASL is how to log in to an instance.
type SASL struct {
	URL            string // as [Plan.URL], with the password
	User, Password string
	Lasts          time.Duration // a login by PLAIN
}

// A Bind makes a folder of this file system appear in another root.
type Bind struct{ From, To string }

// A Command is a process to start.
type Command struct {
	Path string
	Args []string
	Env  []string // all of it; nothing is inherited
	Dir  string
	Root string // change to this root first; empty for none
}

// A Node is a server process.
type Node struct {
	Command
	// After lists nodes that must be ready before this one first starts.
	After []int
	// Ready returns nil when the node serves. It is asked again until then.
	Ready func(ctx context.Context) error
}

// A Setting is what a plan is made for.
type Setting struct {
	Dir   string // a folder of its own, empty
	Nodes int
	// Port reserves a port of the loopback interface.
	Port func() (int, error)
}

// New makes a plan for an installation.
func New(i Installation, s Setting) (*Plan, error) {
	switch i.Kind {
	case RabbitMQ:
		return rabbitmq(i, s)
	case Kafka:
		return kafka(i, s)
	case GCPPubSub:
		return emulator(i, s)
	case SNSSQS:
		return ministack(i, s)
	}
	return nil, fmt.Errorf("there is no broker %q", i.Kind)
}

// ports reserves a number of ports.
func (s Setting) ports(n int) ([]int, error) {
	list := make([]int, n)
	for i := range list {
		var err error
		if list[i], err = s.Port(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Mark is set in the environment of every process of an instance, to its folder.
const Mark = "WAYBILL_BROKERS_INSTANCE"

// environment is what every process of an instance gets, so that nothing in the
// user's own environment configures it by accident.
func environment(dir string, more map[string]string) []string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
		"HOME": dir, "TMPDIR": dir, Mark: dir,
	}
	maps.Copy(env, more)
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	return list
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// exchange connects, writes, and reads at least n bytes of the answer.
func exchange(ctx context.Context, address string, request []byte, n int) ([]byte, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(5 * time.Second)
	}
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	answer := make([]byte, 4096)
	got := 0
	for got < n {
		m, err := c.Read(answer[got:])
		if err != nil {
			return nil, err
		}
		got += m
	}
	return answer[:got], nil
}

// listening wants a connection to be taken.
func listening(ctx context.Context, address string) error {
	_, err := exchange(ctx, address, nil, 0)
	return err
}

func write(path, text string, mode os.FileMode) error {
	return os.WriteFile(path, []byte(text), mode)
}
