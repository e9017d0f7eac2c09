package recipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// jars looks for Kafka's jars in a folder of the cache.
func jars(path string) []Installation {
	if _, err := exec.LookPath("java"); err != nil {
		return nil
	}
	return []Installation{{Kind: Kafka, Version: strings.TrimPrefix(filepath.Base(path), "kafka-"), Path: path}}
}

// kafkaTools are the console tools that an operator knows by these names.
var kafkaTools = map[string]string{
	"kafka-topics":            "org.apache.kafka.tools.TopicCommand",
	"kafka-consumer-groups":   "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-console-producer":  "org.apache.kafka.tools.ConsoleProducer",
	"kafka-console-consumer":  "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-configs":           "org.apache.kafka.tools.ConfigCommand",
	"kafka-leader-election":   "org.apache.kafka.tools.LeaderElectionCommand",
	"kafka-delete-records":    "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-get-offsets":       "org.apache.kafka.tools.GetOffsetShell",
	"kafka-transactions":      "org.apache.kafka.tools.TransactionsCommand",
	"kafka-metadata-quorum":   "org.apache.kafka.tools.MetadataQuorumCommand",
	"kafka-reassign-replicas": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
}

// kafkaPorts is how many ports a node has: for clients without ceremony, controllers,
// clients with certificates, and clients with passwords and tokens.
const kafkaPorts = 4

// kafka plans nodes that are each broker and controller.
func kafka(i Installation, s Setting) (*Plan, error) {
	p := &Plan{}
	if err := certificates(s.Dir); err != nil {
		return nil, err
	}
	if err := keystore(s.Dir); err != nil {
		return nil, err
	}
	java := func(args ...string) Command {
		return Command{
			Path: "java", Dir: s.Dir, Env: environment(s.Dir, nil),
			Args: append([]string{
				"-XX:-UsePerfData", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.io.tmpdir=" + s.Dir,
				"-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", i.Path + "/libs/*",
			}, args...),
		}
	}
	ports, err := s.ports(kafkaPorts * s.Nodes)
	if err != nil {
		return nil, err
	}
	voters := make([]string, s.Nodes)
	for n := range voters {
		voters[n] = fmt.Sprintf("%d@%s", n+1, loopback(ports[kafkaPorts*n+1]))
	}
	var secure, login []string // addresses
	replicas, inSync := min(3, s.Nodes), 1
	if s.Nodes > 2 {
		inSync = 2
	}
	for n := range s.Nodes {
		own := ports[kafkaPorts*n:]
		address, log := loopback(own[0]), filepath.Join(s.Dir, fmt.Sprintf("n%d.log", n+1))
		conf := filepath.Join(s.Dir, fmt.Sprintf("n%d.properties", n+1))
		text := fmt.Sprintf(kafkaConf, n+1, address, loopback(own[1]), loopback(own[2]), loopback(own[3]), strings.Join(voters, ","),
			s.Dir, replicas, inSync, kafkaUser, kafkaPassword, kafkaLogin.Milliseconds())
		if err := write(conf, text, 0o600); err != nil {
			return nil, err
		}
		p.Addresses = append(p.Addresses, address)
		secure, login = append(secure, loopback(own[2])), append(login, loopback(own[3]))
		format := []string{"kafka.tools.StorageTool", "format", "-t", kafkaCluster, "-c", conf}
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			format = append(format, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, kafkaUser, kafkaPassword))
		}
		p.Prepare = append(p.Prepare, java(format...))
		server := java("-Xmx512m", "-Dorg.slf4j.simpleLogger.logFile="+log, "kafka.Kafka", conf)
		p.Nodes = append(p.Nodes, Node{Command: server, Ready: func(ctx context.Context) error { return kafkaReady(ctx, address, log) }})
	}
	p.URL = "kafka://" + strings.Join(p.Addresses, ",")
	p.TLS = &TLS{
		CA: filepath.Join(s.Dir, "ca.pem"), ClientCert: filepath.Join(s.Dir, "client.pem"), Key: filepath.Join(s.Dir, "client.key"),
	}
	trust := "?tls=true&tls-ca=" + p.TLS.CA
	p.TLS.URL = "kafka://" + strings.Join(secure, ",") + trust + "&tls-cert=" + p.TLS.ClientCert + "&tls-key=" + p.TLS.Key
	p.SASL = &SASL{
		URL:  "kafka://" + kafkaUser + ":" + kafkaPassword + "@" + strings.Join(login, ",") + trust,
		User: kafkaUser, Password: kafkaPassword, Lasts: kafkaLogin,
	}
	p.Admin = func(node int, args []string) (Command, error) {
		if node < 0 || node >= s.Nodes {
			return Command{}, fmt.Errorf("there is no node %d: there are %d, from 0", node, s.Nodes)
		}
		if len(args) == 0 || kafkaTools[args[0]] == "" {
			return Command{}, fmt.Errorf("name one of Kafka's tools first: %s", strings.Join(toolNames(), ", "))
		}
		return java(append([]string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", kafkaTools[args[0]], "--bootstrap-server", p.Addresses[node]}, args[1:]...)...), nil
	}
	return p, nil
}

// kafkaCluster is any cluster id; the ports keep clusters apart.
const kafkaCluster = "V2F5YmlsbFRlc3RzMDAwMQ"

// kafkaUser may log in by a password. Its mechanisms' token validator takes tokens that
// nobody signed.
const kafkaUser, kafkaPassword = "ann", "secret"

// kafkaLogin is how long a login by PLAIN lasts. Clients renew one when a twentieth of that is
// left, which must be enough on a busy machine.
const kafkaLogin = 15 * time.Second

const kafkaConf = `process.roles=broker,controller
node.id=%[1]d
listeners=PLAINTEXT://%[2]s,CONTROLLER://%[3]s,TLS://%[4]s,LOGIN://%[5]s
advertised.listeners=PLAINTEXT://%[2]s,TLS://%[4]s,LOGIN://%[5]s
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,LOGIN:SASL_SSL
inter.broker.listener.name=PLAINTEXT
controller.quorum.voters=%[6]s
log.dirs=%[7]s/n%[1]d
ssl.keystore.type=PEM
ssl.keystore.location=%[7]s/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=%[7]s/ca.pem
listener.name.tls.ssl.client.auth=required
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%[10]s="%[11]s";
listener.name.login.plain.connections.max.reauth.ms=%[12]d
listener.name.login.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.login.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
default.replication.factor=%[8]d
offsets.topic.replication.factor=%[8]d
transaction.state.log.replication.factor=%[8]d
share.coordinator.state.topic.replication.factor=%[8]d
min.insync.replicas=%[9]d
transaction.state.log.min.isr=%[9]d
share.coordinator.state.topic.min.isr=%[9]d
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
controlled.shutdown.enable=true
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
`

// kafkaReady waits for the line that says so, in the log of this start. The
// listeners are open before that.
func kafkaReady(ctx context.Context, address, log string) error {
	text, err := os.ReadFile(log) //nolint:gosec // the log of a server that we started
	if err != nil {
		return err
	}
	start := bytes.LastIndex(text, []byte("Registered signal handlers"))
	if start < 0 || !bytes.Contains(text[start:], []byte("Kafka Server started")) {
		return errors.New("its log does not say that it has started")
	}
	// ApiVersions, version 0, correlation 1, no client id.
	_, err = exchange(ctx, address, []byte("\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff"), 8)
	return err
}

func toolNames() []string {
	var names []string
	for name := range kafkaTools {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
