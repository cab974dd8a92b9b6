package agent

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ports are the host's ends of the three ports.
type Ports struct {
	Control       io.ReadWriteCloser
	Output, Error io.ReadCloser
}

// Client speaks with the agent in one guest. Its methods must not be called at once. When the context of one of them
// ends, the ports are closed, and nothing more can be asked for.
type Client struct {
	ports         Ports
	random        io.Reader
	output, error *stream
	replies       chan string
	broken        error // why replies is closed
	closed        chan struct{}
	closing       sync.Once
}

// Exit is how something ended in the guest.
type Exit struct {
	// Status is 0, or what a command ended with; 124 if its time was over, and what a shell makes of a signal.
	Status int
	// Word says more about a unit: its Result= in systemd's words, such as "exit-code" or "timeout", or "condition" when
	// its conditions did not hold and "unloadable" when systemd could not make sense of it.
	Word string
}

// ErrLost is the error when the guest's side is gone: the machine has ended.
var ErrLost = errors.New("the guest has ended")

const (
	// maxReply is how long a line of the guest may be.
	maxReply = 1 << 10
	// markSize is how many random bytes a mark has. Nothing that a command writes is the same by accident.
	markSize = 16
	version  = "1"
)

// New begins to read from the ports, which [Client.Close] closes. random is where marks come from.
func New(ports Ports, random io.Reader) *Client {
	c := &Client{ports: ports, random: random, output: newStream(ports.Output), error: newStream(ports.Error),
		replies: make(chan string), closed: make(chan struct{})}
	go c.read()
	return c
}

// Close closes the ports.
func (c *Client) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return errors.Join(c.ports.Control.Close(), c.ports.Output.Close(), c.ports.Error.Close())
}

// read reads the guest's lines until there are none any more.
func (c *Client) read() {
	defer close(c.replies)
	c.broken = ErrLost
	lines := bufio.NewScanner(c.ports.Control)
	lines.Buffer(nil, maxReply)
	for lines.Scan() {
		select {
		case c.replies <- lines.Text():
		case <-c.closed:
			return
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		c.broken = fmt.Errorf("a reply of the guest has more than %d bytes", maxReply)
	}
}

// next returns the words of the next line of the guest.
func (c *Client) next(ctx context.Context) ([]string, error) {
	select {
	case line, ok := <-c.replies:
		if !ok {
			return nil, c.broken
		}
		return strings.Fields(line), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// closeWith closes the ports when the context ends: a guest that does not answer can be left in no other way.
func (c *Client) closeWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.Close() })
}

// Boot waits until the guest has booted, and returns the state that it has reached: "running", "degraded" when units have
// failed, or "maintenance" when it ended in a rescue shell. progress is told how far it is, "hello" at first; see
// is-system-running in systemctl(1) for the words that come then.
func (c *Client) Boot(ctx context.Context, progress func(state string)) (state string, err error) {
	defer c.closeWith(ctx)()
	for greeted := false; ; {
		words, err := c.next(ctx)
		switch {
		case err != nil:
			return "", err
		case len(words) == 2 && words[0] == "hello":
			if words[1] != version {
				return "", fmt.Errorf("the agent in the guest speaks version %.20q, and this is version %s", words[1], version)
			}
			greeted = true
			progress("hello")
		case len(words) == 2 && words[0] == "state" && greeted:
			progress(words[1])
		case len(words) == 2 && words[0] == "ready" && greeted:
			return words[1], nil
		case len(words) == 1 && words[0] == "state":
			// systemctl did not answer.
		default:
			return "", unexpected(words)
		}
	}
}

func unexpected(words []string) error {
	return fmt.Errorf("the guest sent %.80q, which does not belong here", strings.Join(words, " "))
}

// validName matches the names of files that can be sent: those of units, in one word, and no option.
var validName = regexp.MustCompile(`^[A-Za-z0-9_@:][A-Za-z0-9_@:.-]{0,199}$`)

// CheckName refuses names of files that cannot be sent to a guest.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a file in the guest: it may have letters, digits and :-_.@, and 200 of them", name)
	}
	return nil
}

// Send puts a file into the guest, for [Client.Run] and [Client.RunUnit], or for what they run: it is in the directory
// that commands start in.
func (c *Client) Send(ctx context.Context, name string, mode fs.FileMode, data []byte) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if len(data) > MaxFile {
		return fmt.Errorf("%s has %d bytes, more than %d, which is the most for a file in the guest", name, len(data), MaxFile)
	}
	defer c.closeWith(ctx)()
	err := c.write(ctx, []byte(fmt.Sprintf("file %s %d %04o\n", name, len(data), mode.Perm())), data)
	var exit Exit
	if err == nil {
		exit, err = c.reply(ctx)
	}
	if err == nil && exit.Status != 0 {
		err = errors.New("there is no room for it, or head or chmod is missing")
	}
	if err != nil {
		return fmt.Errorf("sending %s to the guest: %w", name, err)
	}
	return nil
}

// Run executes a file that was sent, in its directory, as root and with nothing to read. It is killed after the limit,
// which counts in full seconds. The error says that the guest could not be talked with, never how the command ended.
func (c *Client) Run(ctx context.Context, name string, limit time.Duration, stdout, stderr io.Writer) (Exit, error) {
	return c.do(ctx, "run", name, limit, stdout, stderr)
}

// RunUnit starts a file that was sent as a unit of that name, and waits until it has ended, or is active without a
// process. Its part of the journal goes to stdout. It is stopped after the limit.
func (c *Client) RunUnit(ctx context.Context, name string, limit time.Duration, stdout, stderr io.Writer) (Exit, error) {
	return c.do(ctx, "unit", name, limit, stdout, stderr)
}

// Journal writes the journal of this boot, as text.
func (c *Client) Journal(ctx context.Context, w io.Writer) error {
	_, err := c.do(ctx, "journal", "-", 0, w, io.Discard)
	return err
}

// FailedUnits returns the names of the units that have failed.
func (c *Client) FailedUnits(ctx context.Context) ([]string, error) {
	var text limitedBuffer
	if _, err := c.do(ctx, "failed", "-", 0, &text, io.Discard); err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(text.String()) {
		if words := strings.Fields(line); len(words) > 0 {
			names = append(names, words[0])
		}
	}
	return names, nil
}

// limitedBuffer keeps the beginning of a text of the guest.
type limitedBuffer struct{ strings.Builder }

func (b *limitedBuffer) Write(data []byte) (int, error) {
	const most = 64 << 10
	b.Builder.Write(data[:min(len(data), most-b.Len())])
	return len(data), nil
}

// do makes one request whose output comes over the other ports.
func (c *Client) do(ctx context.Context, request, name string, limit time.Duration, stdout, stderr io.Writer) (exit Exit, err error) {
	if name != "-" {
		if err := CheckName(name); err != nil {
			return Exit{}, err
		}
	}
	var random [markSize]byte
	if _, err := io.ReadFull(c.random, random[:]); err != nil {
		return Exit{}, fmt.Errorf("making up a mark for the end of output: %w", err)
	}
	mark := hex.EncodeToString(random[:])
	defer c.closeWith(ctx)()
	ended := []<-chan struct{}{c.output.expect([]byte(mark), stdout), c.error.expect([]byte(mark), stderr)}
	defer func() { err = errors.Join(err, c.output.end(), c.error.end()) }()
	if err := c.write(ctx, []byte(fmt.Sprintf("%s %s %d %s\n", request, name, int(limit.Seconds()), mark))); err != nil {
		return Exit{}, err
	}
	if exit, err = c.reply(ctx); err != nil {
		return Exit{}, err
	}
	for i, s := range []*stream{c.output, c.error} {
		if err := s.await(ctx, ended[i]); err != nil {
			return Exit{}, err
		}
	}
	return exit, nil
}

// write sends the parts of a request.
func (c *Client) write(ctx context.Context, parts ...[]byte) error {
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if _, err := c.ports.Control.Write(p); ctx.Err() != nil {
			return context.Cause(ctx)
		} else if err != nil {
			return ErrLost
		}
	}
	return nil
}

// reply waits for the reply to a request.
func (c *Client) reply(ctx context.Context) (Exit, error) {
	words, err := c.next(ctx)
	if err != nil {
		return Exit{}, err
	}
	if len(words) < 2 || len(words) > 3 || words[0] != "exit" {
		return Exit{}, unexpected(words)
	}
	status, err := strconv.ParseUint(words[1], 10, 8)
	if err != nil {
		return Exit{}, unexpected(words)
	}
	exit := Exit{Status: int(status)}
	if len(words) == 3 {
		exit.Word = words[2]
	}
	return exit, nil
}
