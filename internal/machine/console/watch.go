package console

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// loginPrompt is what agetty(8) and its like print after the name of the host, also when they log in by themselves.
const loginPrompt = " login: "

// troubles are what is printed by guests that do not come up, and what that means.
var troubles = []struct {
	text string
	err  error
}{
	{"You are in emergency mode", errors.New("the guest ended in an emergency shell")},                // systemd
	{"You are in rescue mode", errors.New("the guest ended in a rescue shell")},                       // systemd
	{"Entering emergency mode", errors.New("the guest's initrd ended in an emergency shell")},         // dracut
	{"Kernel panic - not syncing", errors.New("the guest's kernel panicked")},                         // Linux
	{"No bootable option or device was found", errors.New("the firmware finds nothing to boot from")}, // OVMF
	{"No bootable device", errors.New("the firmware finds nothing to boot from")},                     // SeaBIOS
}

// maxPhrase is the length of the longest text that is looked for.
const maxPhrase = 64

// Watch looks in what a guest prints for a login prompt, and for signs that there will be none. It may be used from
// several goroutines.
type Watch struct {
	text    io.Writer
	mu      sync.Mutex
	tail    []byte
	login   chan struct{}
	trouble chan error
	found   bool // of trouble
	asked   bool // for a login
}

// NewWatch returns a watch that has seen nothing.
func NewWatch() *Watch {
	w := &Watch{login: make(chan struct{}), trouble: make(chan error, 1)}
	w.text = Plain(watchText{w})
	return w
}

// Login is closed when the login prompt has come.
func (w *Watch) Login() <-chan struct{} { return w.login }

// Trouble receives why the guest will not come up, once at most.
func (w *Watch) Trouble() <-chan error { return w.trouble }

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
	if !w.asked && bytes.Contains(all, []byte(loginPrompt)) {
		w.asked = true
		close(w.login)
	}
	for _, t := range troubles {
		if !w.found && bytes.Contains(all, []byte(t.text)) {
			w.found = true
			w.trouble <- t.err
		}
	}
	w.tail = bytes.Clone(all[max(0, len(all)-maxPhrase):])
	return len(text), nil
}
