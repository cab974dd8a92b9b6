package qmp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// serve has a QEMU at the other end that says hello, and then for each command what comes next. It returns what it heard.
func serve(t *testing.T, hello string, replies ...string) (conn net.Conn, heard <-chan string) {
	t.Helper()
	ours, theirs := net.Pipe()
	lines := make(chan string, len(replies))
	go func() {
		defer theirs.Close()
		defer close(lines)
		if _, err := io.WriteString(theirs, hello); err != nil {
			return
		}
		commands := bufio.NewScanner(theirs)
		for _, reply := range replies {
			if !commands.Scan() {
				return
			}
			lines <- commands.Text()
			if _, err := io.WriteString(theirs, reply); err != nil {
				return
			}
		}
	}()
	return ours, lines
}

const (
	hello = `{"QMP": {"version": {}, "capabilities": []}}` + "\n"
	done  = `{"return": {}}` + "\n"
)

func TestExecute(t *testing.T) {
	conn, heard := serve(t, hello, done, `{"event": "RESET", "data": {"guest": true}, "timestamp": {}}`+"\n"+done, `{"error": {"class": "GenericError", "desc": "not now"}}`+"\n")
	var told []string
	c, err := Connect(conn, func(_ *Client, e Event) { told = append(told, e.Name+string(e.Data)) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Execute("one"); err != nil {
		t.Error(err)
	}
	var refusal *Error
	if err := c.Execute("two"); !errors.As(err, &refusal) || err.Error() != "asking QEMU for two: QEMU says: not now" {
		t.Errorf("got %v", err)
	}
	if err := c.Execute("three"); err == nil {
		t.Error("a QEMU that has gone did something")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	var got []string
	for line := range heard {
		got = append(got, line)
	}
	if want := `RESET{"guest": true}`; strings.Join(told, " ") != want {
		t.Errorf("QEMU told %s, want %s", told, want)
	}
	if want := `{"execute":"qmp_capabilities"} {"execute":"one"} {"execute":"two"}`; strings.Join(got, " ") != want {
		t.Errorf("QEMU heard %s, want %s", got, want)
	}
}

func TestCall(t *testing.T) {
	conn, heard := serve(t, hello, done, `{"return": {"status": "paused"}}`+"\n", `{"return": 1}`+"\n")
	c, err := Connect(conn, nil)
	if err != nil {
		t.Fatal(err)
	}
	var reply struct{ Status string }
	if err := c.Call("ask", map[string]string{"a": "b"}, &reply); err != nil || reply.Status != "paused" {
		t.Errorf("got %+v, %v", reply, err)
	}
	if err := c.Call("ask", nil, &reply); err == nil || !strings.Contains(err.Error(), "reading what QEMU says to ask") {
		t.Errorf("got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	<-heard // the greeting's
	if got, want := <-heard, `{"execute":"ask","arguments":{"a":"b"}}`; got != want {
		t.Errorf("QEMU heard %s, want %s", got, want)
	}
}

func TestConnectRefuses(t *testing.T) {
	for want, said := range map[string]string{
		"EOF":                          "",
		"QEMU does not greet":          done,
		"reading from QEMU: invalid":   "hello\n",
		"reading from QEMU: bufio.Sca": strings.Repeat("x", maxMessage+1),
	} {
		conn, _ := serve(t, said)
		if _, err := Connect(conn, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", said, err, want)
		}
	}
}

func FuzzConnect(f *testing.F) {
	f.Add(hello + done)
	f.Add(hello + `{"event": "RESET"}` + "\n" + `{"error": {}}` + "\n")
	f.Add(strings.Repeat("{", 10000))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 200}
	f.Fuzz(func(t *testing.T, said string) {
		bound.Check(t, len(said), func() {
			// Whatever is said, the end of it ends the connection.
			if c, err := Connect(struct {
				io.Reader
				io.WriteCloser
			}{strings.NewReader(said), nopCloser{io.Discard}}, nil); err == nil {
				if err := c.Execute("stop"); err != nil && !errors.Is(err, io.EOF) && !errors.As(err, new(*Error)) {
					t.Errorf("got %v", err)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	})
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
