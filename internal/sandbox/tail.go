package sandbox

import (
	"bytes"
	"strings"
	"sync"
)

// Limits of what is kept of a command's output.
const (
	tailLines = 20
	tailBytes = 4096
)

// tail keeps the end of what is written to it. Its zero value is empty; it may
// be written to by several goroutines.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p[max(0, len(p)-tailBytes):]...)
	if len(t.data) > 2*tailBytes {
		t.data = append(t.data[:0], t.data[len(t.data)-tailBytes:]...)
	}
	return len(p), nil
}

// String is the last lines, without the last one's end.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	data := t.data
	if len(data) > tailBytes {
		data = data[len(data)-tailBytes:]
		// Begin with a whole line if there is one.
		if i := bytes.IndexByte(data, '\n'); i >= 0 && i < len(data)-1 {
			data = data[i+1:]
		}
	}
	lines := strings.Split(strings.TrimRight(string(data), "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
