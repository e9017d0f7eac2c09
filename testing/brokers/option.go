package brokers

// An Option says which broker is wanted.
type Option func(*request)

type request struct {
	version string
	nodes   int
	private bool
}

// Version asks for a version: "4.3" takes any 4.3. Without it, any will do.
func Version(v string) Option { return func(r *request) { r.version = v } }

// Nodes asks for a cluster. More than one node is never taken from the environment.
func Nodes(n int) Option { return func(r *request) { r.nodes = n } }

// Private asks for an instance of the caller's own, which it may stop, kill and pause. It
// is never taken from the environment and ends with the caller.
func Private() Option { return func(r *request) { r.private = true } }
