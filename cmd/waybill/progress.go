package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar on a terminal, and nothing elsewhere. Its methods may be called
// concurrently.
type progress struct {
	out io.Writer

	mu    sync.Mutex
	total int64                    // not positive: not known
	bar   *progressbar.ProgressBar // nil where there is no terminal
}

// newProgress shows how many of total were done; a total that is not positive is not known.
func newProgress(out io.Writer, what string, total int64) *progress {
	p := &progress{out: out, total: total}
	if f, ok := out.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	if total <= 0 {
		total = -1
	}
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	return p
}

// set says how many are done by now.
func (p *progress) set(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		return
	}
	if p.total > 0 && n > p.total {
		p.total = n // there was more than the broker knew of
		p.bar.ChangeMax64(n)
	}
	_ = p.bar.Set64(n) // nobody is left to tell
}

// Write writes a line above the bar.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear() // it is drawn again
	}
	return p.out.Write(text)
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish() // nobody is left to tell
		p.bar = nil
	}
}
