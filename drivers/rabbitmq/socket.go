package rabbitmq

import (
	"net"
	"sync"
)

// A socket gathers what is written while somebody holds it: the client library
// flushes every frame, and a system call for each costs more than the frame.
type socket struct {
	net.Conn

	mu   sync.Mutex
	held int
	buf  []byte
	err  error
}

const socketBuffer = 64 << 10

// Write is the client library's.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return 0, s.err
	case s.held == 0: // and nothing is buffered
		n, err := s.Conn.Write(p)
		s.err = err
		return n, err
	}
	s.buf = append(s.buf, p...)
	if len(s.buf) >= socketBuffer {
		s.flush()
	}
	return len(p), s.err
}

// hold begins to gather. Whoever holds waits for nothing, and releases soon.
func (s *socket) hold() {
	s.mu.Lock()
	s.held++
	s.mu.Unlock()
}

// release sends what was gathered. It blocks as a write does.
func (s *socket) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held--; s.held == 0 {
		s.flush()
	}
}

func (s *socket) flush() {
	if len(s.buf) == 0 || s.err != nil {
		return
	}
	if _, s.err = s.Conn.Write(s.buf); s.err != nil {
		_ = s.Conn.Close() // so that the client library learns of it
	}
	s.buf = s.buf[:0]
}
