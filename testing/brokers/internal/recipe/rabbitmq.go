package recipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// stateInRoot is where an instance's folder appears in a root file system of RabbitMQ's own.
const stateInRoot = "/var/lib/waybill"

// rabbitmqBin holds RabbitMQ's own scripts. Those in /usr/sbin change the user first.
const rabbitmqBin = "/usr/lib/rabbitmq/bin"

// systemRabbitMQ looks for Debian's package under a root.
func systemRabbitMQ(root string) []Installation {
	paths, err := filepath.Glob(filepath.Join(root, "usr/lib/rabbitmq/lib/rabbitmq_server-*"))
	if err != nil || len(paths) == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(root, rabbitmqBin, "rabbitmq-server")); err != nil {
		return nil
	}
	version := strings.TrimPrefix(filepath.Base(paths[len(paths)-1]), "rabbitmq_server-")
	return []Installation{{Kind: RabbitMQ, Version: version, Path: root}}
}

// rabbitmq plans an instance. The Erlang port mapper is started first, and by us:
// left to Erlang, it would be a daemon that outlives it.
func rabbitmq(i Installation, s Setting) (*Plan, error) {
	p := &Plan{}
	root, dir := "", s.Dir
	if i.Path != "/" {
		if os.Getuid() != 0 {
			return nil, fmt.Errorf("RabbitMQ %s runs in a root file system of its own, which only root may start", i.Version)
		}
		root, dir = i.Path, stateInRoot
		p.Binds = []Bind{{"/proc", "/proc"}, {"/dev", "/dev"}, {s.Dir, stateInRoot}}
	}
	epmd, err := s.Port()
	if err != nil {
		return nil, err
	}
	if err := write(filepath.Join(s.Dir, ".erlang.cookie"), "waybill"+fmt.Sprint(epmd), 0o400); err != nil {
		return nil, err
	}
	// EXTERNAL, where TLS authenticates, is offered beside the passwords.
	if err := write(filepath.Join(s.Dir, "plugins"), "[rabbitmq_auth_mechanism_ssl].\n", 0o600); err != nil {
		return nil, err
	}
	if err := certificates(s.Dir); err != nil {
		return nil, err
	}
	base := map[string]string{
		"HOME": dir, "TMPDIR": dir, "ERL_EPMD_PORT": fmt.Sprint(epmd), "ERL_EPMD_ADDRESS": "127.0.0.1",
		"ERL_FLAGS":                     loopbackErlang,
		"RABBITMQ_ENABLED_PLUGINS_FILE": dir + "/plugins",
		"RABBITMQ_CONF_ENV_FILE":        dir + "/none", // not the system's
	}
	command := func(path string, args []string, more map[string]string) Command {
		env := map[string]string{}
		for _, m := range []map[string]string{base, more} {
			for k, v := range m {
				env[k] = v
			}
		}
		return Command{Path: path, Args: args, Env: environment(s.Dir, env), Dir: dir, Root: root}
	}
	p.Helpers = []Node{{
		Command: command("/usr/bin/epmd", nil, nil),
		Ready:   func(ctx context.Context) error { return listening(ctx, loopback(epmd)) },
	}}

	names := make([]string, s.Nodes)
	for n := range s.Nodes {
		names[n] = fmt.Sprintf("n%d-%d@localhost", n+1, epmd)
		ports, err := s.ports(3)
		if err != nil {
			return nil, err
		}
		address := loopback(ports[0])
		p.Addresses = append(p.Addresses, address)
		if n == 0 {
			p.URL = "rabbitmq://guest:guest@" + address + "/"
			p.TLS = &TLS{
				URL: "rabbitmqs://guest:guest@" + loopback(ports[1]) + "/", CA: filepath.Join(s.Dir, "ca.pem"),
				ClientCert: filepath.Join(s.Dir, "client.pem"), Key: filepath.Join(s.Dir, "client.key"),
			}
		}
		conf := fmt.Sprintf(rabbitmqConf, address, loopback(ports[1]), dir, dir, dir)
		if n > 0 {
			// The first node runs already: the others join it.
			conf += "cluster_formation.peer_discovery_backend = rabbit_peer_discovery_classic_config\n" +
				"cluster_formation.classic_config.nodes.1 = " + names[0] + "\n" +
				"cluster_formation.classic_config.nodes.2 = " + names[n] + "\n"
		}
		file := fmt.Sprintf("n%d.conf", n+1)
		if err := write(filepath.Join(s.Dir, file), conf, 0o600); err != nil {
			return nil, err
		}
		node := Node{
			// With input allowed the script becomes Erlang, rather than its parent; then
			// there is one process to signal. The argument says that there is no input.
			Command: command(rabbitmqBin+"/rabbitmq-server", []string{"-noinput"}, map[string]string{
				"RABBITMQ_ALLOW_INPUT": "1", "RABBITMQ_NODENAME": names[n], "RABBITMQ_DIST_PORT": fmt.Sprint(ports[2]),
				"RABBITMQ_MNESIA_BASE": fmt.Sprintf("%s/n%d", dir, n+1), "RABBITMQ_LOG_BASE": fmt.Sprintf("%s/n%d-log", dir, n+1),
				"RABBITMQ_CONFIG_FILE":                   dir + "/" + file,
				"RABBITMQ_ADVANCED_CONFIG_FILE":          dir + "/none",
				"RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD": "none",
			}),
			Ready: func(ctx context.Context) error { return amqpReady(ctx, address) },
		}
		if n > 0 {
			node.After = []int{0}
		}
		p.Nodes = append(p.Nodes, node)
	}
	p.Admin = func(node int, args []string) (Command, error) {
		if node < 0 || node >= len(names) {
			return Command{}, fmt.Errorf("there is no node %d: there are %d, from 0", node, len(names))
		}
		return command(rabbitmqBin+"/rabbitmqctl", append([]string{"--node", names[node]}, args...), map[string]string{
			"RABBITMQ_CTL_DIST_PORT_MIN": "0", "RABBITMQ_CTL_DIST_PORT_MAX": "0",
		}), nil
	}
	return p, nil
}

// loopbackErlang keeps the distribution protocol of every Erlang, also of those that
// RabbitMQ starts by itself, on the loopback interface, and off starting a port mapper.
const loopbackErlang = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false"

const rabbitmqConf = `listeners.tcp.1 = %s
listeners.ssl.1 = %s
ssl_options.cacertfile = %s/ca.pem
ssl_options.certfile = %s/server.pem
ssl_options.keyfile = %s/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
log.console = true
log.console.level = warning
log.file.level = info
disk_free_limit.absolute = 50MB
`

// amqpReady sends the protocol's header. A server that serves answers with
// connection.start: class 10, method 10, on channel 0.
func amqpReady(ctx context.Context, address string) error {
	answer, err := exchange(ctx, address, []byte("AMQP\x00\x00\x09\x01"), 11)
	if err != nil {
		return err
	}
	if answer[0] != 1 || answer[8] != 10 || answer[10] != 10 {
		return errors.New("what listens there does not speak AMQP")
	}
	return nil
}
