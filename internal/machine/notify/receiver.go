package notify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Receiver collects the notifications of one guest. The zero value is ready; it must not be copied.
type Receiver struct {
	// Changed, unless it is nil, is called with each new state, never twice at once. It must not call the receiver.
	Changed func(State)
	// Trouble, unless it is nil, is called with what was wrong with a message, never twice at once. Such a message is dropped.
	Trouble func(error)

	mu    sync.Mutex
	state State
}

// State returns what the guest has said so far.
func (r *Receiver) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// receive takes one message.
func (r *Receiver) receive(message []byte) {
	list, err := Parse(message)
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.state
	for _, a := range list {
		err = errors.Join(err, r.state.Apply(a))
	}
	if err != nil && r.Trouble != nil {
		r.Trouble(err)
	}
	if r.state != before && r.Changed != nil {
		r.Changed(r.state)
	}
}

const (
	// patience is how long a message may take to come.
	patience = 10 * time.Second
	// lateness is how long Serve goes on after its context's end for what the guest said last.
	lateness = 200 * time.Millisecond
)

// Listener is what [Receiver.Serve] needs of a listening socket; *net.UnixListener and VSOCK listeners have it.
type Listener interface {
	net.Listener
	SetDeadline(t time.Time) error
}

// Serve receives from a listening stream socket, on which each connection carries one message, until the context ends,
// which it should do when the virtual machine has: what came by then is still received. It closes the listener. The error
// says why it could not go on, and is nil when the context ended.
func (r *Receiver) Serve(ctx context.Context, l Listener) error {
	defer l.Close()
	stop := context.AfterFunc(ctx, func() {
		if l.SetDeadline(time.Now().Add(lateness)) != nil {
			l.Close()
		}
	})
	defer stop()
	for {
		// One after the other: that keeps the order of the messages, and a guest that dallies waits for itself.
		conn, err := l.Accept()
		if err == nil {
			r.readConn(ctx, conn)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("waiting for notifications of the guest: %w", err)
	}
}

// readConn reads the one message of a connection, and closes it.
func (r *Receiver) readConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	err := conn.SetReadDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now().Add(lateness)) })
	defer stop()
	var message []byte
	if err == nil {
		message, err = io.ReadAll(io.LimitReader(conn, MaxMessage+1))
	}
	if err != nil {
		r.trouble(fmt.Errorf("reading a notification of the guest: %w", err))
		return
	}
	r.receive(message)
}

// ReadPort receives from a port of the virtual machine's serial bus, where every line is a message, until the port is at
// its end. It does not close it; to stop earlier, close the port.
func (r *Receiver) ReadPort(port io.Reader) error {
	lines := bufio.NewScanner(port)
	lines.Buffer(nil, MaxMessage)
	for lines.Scan() {
		r.receive(lines.Bytes())
	}
	if err := lines.Err(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("reading notifications of the guest: %w", err)
	}
	return nil
}

func (r *Receiver) trouble(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Trouble != nil {
		r.Trouble(err)
	}
}
