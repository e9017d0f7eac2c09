package keeper

import (
	"bytes"
	"io"
	"strings"
)

// A buffer is a tool's output.
type buffer struct{ bytes.Buffer }

// end is what an error can show of it.
func (b *buffer) end() string {
	const most = 2000
	text := strings.TrimSpace(b.String())
	return text[max(0, len(text)-most):]
}

func newInput(s string) io.Reader {
	if s == "" {
		return nil
	}
	return strings.NewReader(s)
}
