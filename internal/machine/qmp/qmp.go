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
	replies chan message

	mu sync.Mutex // one command at a time
}

// message is anything that QEMU sends.
type message struct {
	Greeting json.RawMessage `json:"QMP"`
	Event    string          `json:"event"`
	Return   json.RawMessage `json:"return"`
	Error    *Error          `json:"error"`
}

// Error is the error that QEMU answers a command with.
type Error struct {
	Class       string `json:"class"`
	Description string `json:"desc"`
}

func (e *Error) Error() string { return "QEMU says: " + e.Description }

// Connect waits until QEMU greets, which it does once all of its devices are there, and leaves the mode in which the
// connection begins. It takes the connection over: what is wrong with it closes it.
func Connect(conn io.ReadWriteCloser) (*Client, error) {
	c := &Client{conn: conn, replies: make(chan message)}
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

// receive passes replies on until the connection ends. Events are dropped: whoever waits for the machine waits for the
// process.
func (c *Client) receive(lines *bufio.Scanner) {
	defer close(c.replies)
	for {
		m, err := read(lines)
		if err != nil {
			return
		}
		if m.Event == "" {
			c.replies <- m
		}
	}
}

// Execute runs a command without arguments and waits for its reply. It fails with an *[Error] if QEMU does not do it, and
// with an error that wraps io.EOF if QEMU has gone.
func (c *Client) Execute(command string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := json.Marshal(struct {
		Execute string `json:"execute"`
	}{command})
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
