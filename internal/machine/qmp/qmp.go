// Package qmp speaks with a running QEMU over its machine protocol (QEMU's docs/interop/qmp-spec.rst): JSON messages, one a
// line.
package qmp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxMessage is how many bytes a message may have.
const maxMessage = 1 << 20

// Client is a connection to a QEMU that has greeted.
type Client struct {
	conn    io.ReadWriteCloser
	events  func(*Client, Event)
	replies chan message

	mu sync.Mutex // one command at a time
}

// Event is something that QEMU tells without being asked (QEMU's QMP reference names all events and their data).
type Event struct {
	Name string          // such as "STOP"
	Data json.RawMessage // an object, or nil
}

// message is anything that QEMU sends.
type message struct {
	Greeting json.RawMessage `json:"QMP"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
	Return   json.RawMessage `json:"return"`
	Error    *Error          `json:"error"`
}

// Error is the error that QEMU answers a command with.
type Error struct {
	Class       string `json:"class"`
	Description string `json:"desc"`
}

func (e *Error) Error() string { return "QEMU says: " + e.Description }

// Connect waits until QEMU greets, which it does once all of its devices are there, or with --preconfig before that, and
// leaves the mode in which the connection begins. Unless events is nil, it is called for each event, one after the other,
// even before Connect returns; replies wait meanwhile, so it must not wait for one. Connect takes the connection over: what is wrong with it closes it.
func Connect(conn io.ReadWriteCloser, events func(*Client, Event)) (*Client, error) {
	if events == nil {
		events = func(*Client, Event) {}
	}
	c := &Client{conn: conn, events: events, replies: make(chan message)}
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxMessage)
	m, err := read(lines)
	if err == nil && m.Greeting == nil {
		err = errors.New("QEMU does not greet")
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go c.receive(lines)
	if err := c.Execute("qmp_capabilities"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// read reads one message.
func read(lines *bufio.Scanner) (m message, err error) {
	if !lines.Scan() {
		if err := lines.Err(); err != nil {
			return m, fmt.Errorf("reading from QEMU: %w", err)
		}
		return m, io.EOF
	}
	if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
		return m, fmt.Errorf("reading from QEMU: %w", err)
	}
	return m, nil
}

// receive passes events and replies on until the connection ends.
func (c *Client) receive(lines *bufio.Scanner) {
	defer close(c.replies)
	for {
		m, err := read(lines)
		if err != nil {
			return
		}
		if m.Event != "" {
			c.events(c, Event{m.Event, m.Data})
			continue
		}
		c.replies <- m
	}
}

// Execute runs a command without arguments that has nothing to reply. It fails as [Client.Call] does.
func (c *Client) Execute(command string) error { return c.Call(command, nil, nil) }

// Call runs a command, with arguments as an object unless they are nil, waits for its reply, and decodes that into reply
// unless it is nil. It fails with an *[Error] if QEMU does not do it, and with an error that wraps io.EOF if QEMU has gone.
func (c *Client) Call(command string, arguments, reply any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("asking QEMU for %s: %w", command, err)
	}
	m, ok := <-c.replies
	switch {
	case !ok:
		return fmt.Errorf("asking QEMU for %s: %w", command, io.EOF)
	case m.Error != nil:
		return fmt.Errorf("asking QEMU for %s: %w", command, m.Error)
	case reply == nil:
		return nil
	}
	if err := json.Unmarshal(m.Return, reply); err != nil {
		return fmt.Errorf("reading what QEMU says to %s: %w", command, err)
	}
	return nil
}

// Close ends the connection. QEMU goes on.
func (c *Client) Close() error {
	err := c.conn.Close()
	go func() {
		for range c.replies { // until the reader has noticed
		}
	}()
	return err
}

// Begin hands a kernel command line to a QEMU that was started with --preconfig, and so has not made its machine yet, and
// has it do that. So the line is not among the arguments of a process, which everybody can read. It fails as
// [Client.Call] does.
func (c *Client) Begin(commandLine string) error {
	set := struct {
		Path     string `json:"path"`
		Property string `json:"property"`
		Value    string `json:"value"`
	}{"/machine", "append", commandLine}
	if err := c.Call("qom-set", set, nil); err != nil {
		return err
	}
	return c.Execute("x-exit-preconfig")
}
