package console

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// MaxLog is how many bytes of a guest's console a log keeps.
const MaxLog = 64 << 20

// Limited returns a writer that passes on so many bytes and then a line that says so. The rest it takes and drops, so
// that a guest can fill no disk.
func Limited(to io.Writer, most int64) io.Writer { return &limited{to: to, left: most, most: most} }

type limited struct {
	to         io.Writer
	left, most int64
	said       bool
}

// Write passes on what there is room for.
func (l *limited) Write(data []byte) (int, error) {
	now := data[:min(int64(len(data)), l.left)]
	l.left -= int64(len(now))
	if len(now) > 0 {
		if _, err := l.to.Write(now); err != nil {
			return 0, err
		}
	}
	if len(now) < len(data) && !l.said {
		l.said = true
		if _, err := fmt.Fprintf(l.to, "\n[more than %d bytes: the rest is not kept]\n", l.most); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

// Watch looks for a login prompt in what a guest prints. It is safe for use by several goroutines.
type Watch struct {
	text  io.Writer
	mu    sync.Mutex
	tail  []byte
	found chan struct{}
	once  sync.Once
}

// loginPrompt is what agetty(8) and its like print after the name of the host, also when they log in by themselves.
var loginPrompt = []byte(" login: ")

// NewWatch returns a watch that has seen nothing.
func NewWatch() *Watch {
	w := &Watch{found: make(chan struct{})}
	w.text = Plain(watchText{w})
	return w
}

// Login is closed when the login prompt has come.
func (w *Watch) Login() <-chan struct{} { return w.found }

// Write takes what the guest prints.
func (w *Watch) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(data)
}

// watchText is the text of the console.
type watchText struct{ *Watch }

func (w watchText) Write(text []byte) (int, error) {
	all := append(w.tail, text...)
	if bytes.Contains(all, loginPrompt) {
		w.once.Do(func() { close(w.found) })
	}
	w.Watch.tail = bytes.Clone(all[max(0, len(all)-len(loginPrompt)+1):])
	return len(text), nil
}
