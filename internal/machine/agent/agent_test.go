package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// fakeGuest is the other side of the ports.
type fakeGuest struct {
	control, output, error net.Conn
	requests               *bufio.Reader
}

// newGuest returns both sides. act is what the guest does.
func newGuest(t *testing.T, act func(g *fakeGuest)) *Client {
	t.Helper()
	var g fakeGuest
	var p Ports
	g.control, p.Control = net.Pipe()
	g.output, p.Output = net.Pipe()
	g.error, p.Error = net.Pipe()
	g.requests = bufio.NewReader(g.control)
	done := make(chan struct{})
	go func() {
		defer close(done)
		act(&g)
		g.control.Close()
		g.output.Close()
		g.error.Close()
	}()
	c := New(p, rand.Reader)
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c
}

// say writes lines to the host. A host that does not listen any more is its own affair.
func (g *fakeGuest) say(lines ...string) {
	for _, l := range lines {
		fmt.Fprintln(g.control, l)
	}
}

// request reads a request, which has the given first word, and returns the rest of its words.
func (g *fakeGuest) request(t *testing.T, word string) (words []string) {
	line, err := g.requests.ReadString('\n')
	words = strings.Fields(line)
	if err != nil || len(words) != 4 || words[0] != word {
		t.Errorf("got the request %q, %v; want %s", line, err, word)
		return make([]string, 3)
	}
	return words[1:]
}

func TestBoot(t *testing.T) {
	c := newGuest(t, func(g *fakeGuest) {
		g.say("hello 1", "state initializing", "state", "state starting", "ready degraded")
	})
	var progress []string
	state, err := c.Boot(t.Context(), func(s string) { progress = append(progress, s) })
	if err != nil || state != "degraded" {
		t.Errorf("got %q, %v", state, err)
	}
	if diff := cmp.Diff([]string{"hello", "initializing", "starting"}, progress); diff != "" {
		t.Error(diff)
	}
}

func TestBootFails(t *testing.T) {
	for want, lines := range map[string][]string{
		"ended":                {"hello 1", "state starting"},
		`speaks version "2"`:   {"hello 2"},
		"does not belong here": {"ready running"},
		"more than 1024":       {strings.Repeat("x", 5000)},
	} {
		c := newGuest(t, func(g *fakeGuest) { g.say(lines...) })
		if _, err := c.Boot(t.Context(), func(string) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}

func TestBootIsCancelled(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := newGuest(t, func(g *fakeGuest) {
		g.say("hello 1")
		// The host closes the port.
		_, _ = io.Copy(io.Discard, g.control)
	})
	if _, err := c.Boot(ctx, func(string) { cancel(cause) }); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestSendAndRun(t *testing.T) {
	var sent []byte
	c := newGuest(t, func(g *fakeGuest) {
		if words := g.request(t, "file"); strings.Join(words, " ") != "test 6 0755" {
			t.Errorf("got the words %q", words)
		}
		sent = make([]byte, 6)
		if _, err := io.ReadFull(g.requests, sent); err != nil {
			t.Error(err)
		}
		g.say("exit 0 ")
		// What came before, from a process that was left behind, is nobody's.
		for range 2 {
			words := g.request(t, "run")
			if words[0] != "test" || words[1] != "90" {
				t.Errorf("got the words %q", words)
			}
			mark := words[2]
			io.WriteString(g.output, "out"+mark[:8])
			io.WriteString(g.output, "more\n"+mark[:len(mark)-1])
			io.WriteString(g.output, mark[len(mark)-1:]+"late")
			io.WriteString(g.error, mark+"late")
			g.say("exit 3 ")
		}
	})
	if err := c.Send(t.Context(), "test", 0o755, []byte("a\x00\nb\n\n")); err != nil || string(sent) != "a\x00\nb\n\n" {
		t.Fatalf("sent %q: %v", sent, err)
	}
	for range 2 {
		var stdout, stderr bytes.Buffer
		exit, err := c.Run(t.Context(), "test", 90*time.Second, &stdout, &stderr)
		if err != nil || exit != (Exit{Status: 3}) {
			t.Errorf("got %+v, %v", exit, err)
		}
		if !strings.HasPrefix(stdout.String(), "out") || !strings.HasSuffix(stdout.String(), "more\n") || stdout.Len() != 16 || stderr.Len() != 0 {
			t.Errorf("got %q and %q", stdout.String(), stderr.String())
		}
	}
}

func TestUnit(t *testing.T) {
	c := newGuest(t, func(g *fakeGuest) {
		mark := g.request(t, "unit")[2]
		io.WriteString(g.output, "journal\n"+mark)
		io.WriteString(g.error, mark)
		g.say("exit 1 exit-code")
		mark = g.request(t, "failed")[2]
		io.WriteString(g.output, "a.service loaded failed failed A\nb.mount loaded failed failed\n"+mark)
		io.WriteString(g.error, mark)
		g.say("exit 0")
	})
	var out strings.Builder
	exit, err := c.RunUnit(t.Context(), "a.service", time.Minute, &out, io.Discard)
	if err != nil || exit != (Exit{1, "exit-code"}) || out.String() != "journal\n" {
		t.Errorf("got %+v, %q, %v", exit, out.String(), err)
	}
	failed, err := c.FailedUnits(t.Context())
	if diff := cmp.Diff([]string{"a.service", "b.mount"}, failed); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// A guest that ends while something runs, or answers with something else, must be an error and nothing worse.
func TestRunFails(t *testing.T) {
	full := errors.New("full")
	for name, tt := range map[string]struct {
		act  func(g *fakeGuest, mark string)
		out  io.Writer
		want string
	}{
		"the end":             {func(*fakeGuest, string) {}, io.Discard, ErrLost.Error()},
		"the end before mark": {func(g *fakeGuest, _ string) { g.say("exit 0") }, io.Discard, ErrLost.Error()},
		"no exit":             {func(g *fakeGuest, _ string) { g.say("ready running") }, io.Discard, "does not belong"},
		"no number":           {func(g *fakeGuest, _ string) { g.say("exit 256") }, io.Discard, "does not belong"},
		"a writer that fails": {func(g *fakeGuest, mark string) {
			io.WriteString(g.output, "a")
			io.WriteString(g.output, "b"+mark)
			io.WriteString(g.error, mark)
			g.say("exit 0")
		}, failing{full}, "full"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newGuest(t, func(g *fakeGuest) { tt.act(g, g.request(t, "run")[2]) })
			if _, err := c.Run(t.Context(), "x", time.Second, tt.out, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestNames(t *testing.T) {
	for _, name := range []string{"", "-x", ".x", "a b", "a/b", "a\n", "ä", "a$b", "a%b", `a\x2d`, strings.Repeat("x", 201)} {
		if CheckName(name) == nil {
			t.Errorf("%q was taken", name)
		}
	}
	for _, name := range []string{"10-net.service", "getty@tty1.service", "test.sh", "_"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
}

func TestSendRefuses(t *testing.T) {
	c := newGuest(t, func(g *fakeGuest) {
		g.request(t, "file")
		g.say("exit 1")
	})
	if err := c.Send(t.Context(), "big", 0o644, make([]byte, MaxFile+1)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
	if err := c.Send(t.Context(), "empty", 0o644, nil); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v", err)
	}
}

func TestGuestCredentials(t *testing.T) {
	c := GuestCredentials()
	for _, port := range []string{ControlPort, OutputPort, ErrorPort, LogPort} {
		if !strings.Contains(c["mkosi.agent"], "port "+port+")") {
			t.Errorf("the script does not look for %s", port)
		}
	}
	if unit := c["systemd.extra-unit.mkosi-agent.service"]; !strings.Contains(unit, "ConditionPathExists=!/etc/initrd-release\n") {
		t.Errorf("the unit would run in the initrd:\n%s", unit)
	}
	if len(c) != 3 {
		t.Errorf("%d credentials", len(c))
	}
}

// Whatever comes and however it is cut, what is before the mark is passed on, and nothing else.
func FuzzStream(f *testing.F) {
	f.Add([]byte("output"), []byte("later"), []byte("mark"), 1)
	f.Add([]byte("aaaaab"), []byte("aab"), []byte("aaac"), 2)
	f.Fuzz(func(t *testing.T, before, after, mark []byte, size int) {
		if len(mark) == 0 || bytes.Contains(append(bytes.Clone(before), mark[:len(mark)-1]...), mark) {
			return
		}
		all := append(append(bytes.Clone(before), mark...), after...)
		fuzztest.Bound{Base: 1 << 20, PerByte: 4096}.Check(t, len(all), func() {
			var got bytes.Buffer
			s := &stream{}
			done := s.expect(mark, &got)
			for rest := all; len(rest) > 0; {
				n := max(1, min(size, len(rest)))
				s.take(rest[:n])
				rest = rest[n:]
			}
			<-done
			if !bytes.Equal(got.Bytes(), before) {
				t.Errorf("got %q, want %q", got.Bytes(), before)
			}
		})
	})
}

// No reply of a guest may do harm.
func FuzzReply(f *testing.F) {
	f.Add([]byte("hello 1\nstate x\nready running\nexit 0\n"))
	f.Add([]byte("\n\n\x00 \xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzztest.Bound{Base: 1 << 20, PerByte: 1024}.Check(t, len(data), func() {
			empty := io.NopCloser(strings.NewReader(""))
			c := New(Ports{Control: readOnly{bytes.NewReader(data)}, Output: empty, Error: empty}, rand.Reader)
			defer awaitReaders(t, c)
			state, err := c.Boot(t.Context(), func(string) {})
			if err == nil && state == "" {
				t.Error("booted into nothing")
			}
			for err == nil {
				_, err = c.Run(t.Context(), "x", time.Second, io.Discard, io.Discard)
			}
		})
	})
}

// awaitReaders closes a client and waits for the goroutines that read its ports: what they allocate later would be
// counted as the cost of another input.
func awaitReaders(t *testing.T, c *Client) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	<-c.output.closed
	<-c.error.closed
	for range c.replies {
	}
}

// readOnly is a guest that does not care what it is asked.
type readOnly struct{ io.Reader }

func (readOnly) Write(b []byte) (int, error) { return len(b), nil }
func (readOnly) Close() error                { return nil }
