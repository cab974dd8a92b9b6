package remote

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/mkosi-go/mkosi/internal/machine/running"
)

// server is an sshd on a port of the loopback device, which lets one key in. What a session is asked for is written to
// its output.
type server struct {
	t       *testing.T
	allowed ssh.PublicKey
	config  *ssh.ServerConfig
}

func serve(t *testing.T, allowed crypto.PublicKey) running.Machine {
	t.Helper()
	public, err := ssh.NewPublicKey(allowed)
	if err != nil {
		t.Fatal(err)
	}
	_, host, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(host)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, allowed: public}
	s.config = &ssh.ServerConfig{PublicKeyCallback: s.check}
	s.config.AddHostKey(signer)
	return listen(t, s.connection)
}

// listen has each connection to a port of the loopback device handled.
func listen(t *testing.T, handle func(net.Conn)) running.Machine {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	return running.Machine{Name: "guest", SSHPorts: []uint16{uint16(l.Addr().(*net.TCPAddr).Port)}}
}

func (s *server) check(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if meta.User() != "root" || !bytes.Equal(key.Marshal(), s.allowed.Marshal()) {
		return nil, errors.New("no")
	}
	return nil, nil
}

func (s *server) connection(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

// session answers requests until there is a command, which says what it is: "exit N", "kill", "drop", "cat", or anything
// else, which ends well after the next change of the window, if there is a terminal.
func (s *server) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	exit := func(status uint32) {
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ N uint32 }{status}))
	}
	terminal := false
	for r := range requests {
		switch r.Type {
		case "pty-req":
			var pty struct {
				Term          string
				Columns, Rows uint32
				Width, Height uint32
				Modes         string
			}
			err := ssh.Unmarshal(r.Payload, &pty)
			fmt.Fprintf(channel, "pty %s %d %d\n", pty.Term, pty.Columns, pty.Rows)
			terminal = true
			_ = r.Reply(err == nil, nil)
		case "window-change":
			var size struct{ Columns, Rows, Width, Height uint32 }
			if err := ssh.Unmarshal(r.Payload, &size); err != nil {
				return
			}
			fmt.Fprintf(channel, "window %d %d\n", size.Columns, size.Rows)
			exit(0)
			return
		case "shell", "exec":
			line := "shell"
			if r.Type == "exec" {
				line = string(r.Payload[4:])
			}
			_ = r.Reply(true, nil)
			var status uint32
			switch {
			case line == "kill":
				_, _ = channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
					Signal  string
					Core    bool
					Message string
					Lang    string
				}{Signal: "TERM"}))
				return
			case line == "drop":
				return
			case line == "cat":
				_, _ = io.Copy(channel, channel)
			default:
				_, _ = fmt.Sscanf(line, "exit %d", &status)
				fmt.Fprintf(channel, "%s\n", line)
				fmt.Fprint(channel.Stderr(), "error\n")
			}
			if !terminal {
				exit(status)
				return
			}
		}
	}
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func dial(t *testing.T, m running.Machine, key crypto.Signer) *ssh.Client {
	t.Helper()
	client, err := Dial(t.Context(), m, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestCommands(t *testing.T) {
	key := newKey(t)
	client := dial(t, serve(t, key.Public()), key)
	for _, tt := range []struct {
		line, stdin, stdout, stderr string
		status                      int
		err                         string
	}{
		{"", "", "shell\n", "error\n", 0, ""},
		{"exit 7", "", "exit 7\n", "error\n", 7, ""},
		{"kill", "", "", "", 143, ""},
		{"cat", "in", "in", "", 0, ""},
		{"drop", "", "", "", 0, "connection to the guest is lost"},
	} {
		var stdout, stderr bytes.Buffer
		s, err := Start(t.Context(), client, Command{Line: tt.line, Stdin: strings.NewReader(tt.stdin), Stdout: &stdout, Stderr: &stderr})
		if err != nil {
			t.Fatal(err)
		}
		status, err := s.Wait()
		if status != tt.status || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %d, %v", tt.line, status, err)
		}
		if stdout.String() != tt.stdout || stderr.String() != tt.stderr {
			t.Errorf("%q: got %q and %q", tt.line, stdout.String(), stderr.String())
		}
	}
}

func TestTerminal(t *testing.T) {
	key := newKey(t)
	client := dial(t, serve(t, key.Public()), key)
	var stdout bytes.Buffer
	s, err := Start(t.Context(), client, Command{Terminal: true, Term: "xterm", Columns: 80, Rows: 24, Stdin: strings.NewReader(""), Stdout: &stdout})
	if err != nil {
		t.Fatal(err)
	}
	s.Resize(100, 30)
	if status, err := s.Wait(); status != 0 || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
	if want := "pty xterm 80 24\nshell\nwindow 100 30\n"; stdout.String() != want {
		t.Errorf("got %q, want %q", stdout.String(), want)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	key := newKey(t)
	client := dial(t, serve(t, key.Public()), key)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	in, out := io.Pipe()
	defer out.Close()
	s, err := Start(ctx, client, Command{Line: "cat", Stdin: in, Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	cancel(cause)
	if _, err := s.Wait(); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestDialTellsWhatIsWrong(t *testing.T) {
	key := newKey(t)
	closing := listen(t, func(c net.Conn) { c.Close() })
	strange := listen(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400\r\n\r\n"); c.Close() })
	other := serve(t, newKey(t).Public())
	both := closing
	both.SSHPorts = append(both.SSHPorts, other.SSHPorts...)
	var refused *RefusedError
	var unreachable *UnreachableError
	for name, tt := range map[string]struct {
		m    running.Machine
		want any
	}{
		"another key":              {other, &refused},
		"nothing, and another key": {both, &refused},
		"nothing behind it":        {closing, &unreachable},
		"no sshd":                  {strange, &unreachable},
	} {
		if _, err := Dial(t.Context(), tt.m, key); !errors.As(err, tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Dial(t.Context(), running.Machine{Name: "m"}, key); err == nil || !strings.Contains(err.Error(), "a port of this host") {
		t.Errorf("got %v", err)
	}
}

// The second port is tried when nothing is behind the first, with keys of every kind.
func TestDialTriesAllPorts(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	closing := listen(t, func(c net.Conn) { c.Close() })
	for _, key := range []crypto.Signer{rsaKey, edKey, newKey(t)} {
		m := serve(t, key.Public())
		m.SSHPorts = append(closing.SSHPorts, m.SSHPorts...)
		dial(t, m, key)
	}
}

func TestGuestCredentials(t *testing.T) {
	key := newKey(t)
	c, err := GuestCredentials(key.Public(), true)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(c["ssh.authorized_keys.root"], "ecdsa-sha2-nistp256 AAAA") || c["ssh.listen"] != "60022\n" {
		t.Errorf("got %q", c)
	}
	if c, err := GuestCredentials(key.Public(), false); err != nil || len(c) != 1 {
		t.Errorf("got %q, %v", c, err)
	}
}
