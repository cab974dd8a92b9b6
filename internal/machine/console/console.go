// Package console connects the console of a guest with the terminal of the user: keys as they are typed, a way out, and
// the terminal as it was in the end, whatever the guest did to it. It also keeps logs of what a guest prints, and sees
// when it asks somebody to log in.
//
// What a guest prints is not to be trusted. To a terminal go its control sequences, but for those that outlive it; a log
// has none.
package console

import (
	"io"
	"os"
	"time"
)

const (
	// leaveKey is Ctrl-], which leaves the console when it is pressed leaveCount times within leaveTime. systemd-nspawn(1)
	// and systemd-vmspawn(1) have the same.
	leaveKey   = 0x1d
	leaveCount = 3
	leaveTime  = time.Second
)

// Attached is a guest's console that is connected with the streams of the user.
type Attached struct {
	// Input is what the user types, for the guest. It is at its end when the user leaves.
	Input io.Reader
	// Output takes what the guest prints.
	Output io.Writer

	left    chan struct{}
	keys    *Keys
	restore func()
	out     io.Writer
}

// Attach connects the console with the user's streams. A terminal passes on every key from then on, until Close. Other
// streams are taken as they are: lines go to the guest as they come.
func Attach(stdin io.Reader, stdout io.Writer) (*Attached, error) {
	a := &Attached{Input: stdin, Output: stdout, left: make(chan struct{}), out: stdout}
	if terminal, ok := stdout.(*os.File); ok && IsTerminal(terminal) {
		a.Output = newScreen(stdout, func() int { _, rows := Size(terminal); return rows })
	}
	terminal, ok := stdin.(*os.File)
	if !ok || !IsTerminal(terminal) {
		return a, nil
	}
	var err error
	if a.keys, err = NewKeys(terminal); err != nil {
		return nil, err
	}
	if a.restore, err = Raw(terminal); err != nil {
		return nil, err
	}
	a.Input = &leaver{keys: a.keys, now: time.Now, left: a.left}
	return a, nil
}

// Left is closed when the user wants to leave: has pressed Ctrl-] three times within a second.
func (a *Attached) Left() <-chan struct{} { return a.left }

// Close gives the terminal back as it was. It has to be called in the end, also when something has gone wrong: defer it.
func (a *Attached) Close() {
	if a.keys != nil {
		a.keys.Close()
		a.restore()
	}
	if f, ok := a.out.(*os.File); ok {
		Tidy(f)
	}
}

// leaver passes on keys, and ends when the user wants to leave.
type leaver struct {
	keys    io.Reader
	now     func() time.Time
	left    chan struct{}
	ended   bool
	pressed []time.Time // when the last presses of the key came, if nothing else did since
}

// Read returns keys. The presses that did not lead to the end are the guest's, too.
func (l *leaver) Read(buf []byte) (int, error) {
	if l.ended {
		return 0, io.EOF
	}
	n, err := l.keys.Read(buf)
	for _, key := range buf[:n] {
		if key != leaveKey {
			l.pressed = nil
			continue
		}
		now := l.now()
		l.pressed = append(l.pressed, now)
		if len(l.pressed) > leaveCount {
			l.pressed = l.pressed[1:]
		}
		if len(l.pressed) == leaveCount && now.Sub(l.pressed[0]) <= leaveTime {
			l.ended = true
			close(l.left)
			return 0, io.EOF
		}
	}
	return n, err
}
