// Package remote opens a shell in a running guest, or runs a command there, over SSH.
//
// The guest's sshd is reached over VSOCK, or, where this host has none, through a port of the loopback device that leads
// to the guest. In either case the other side is the machine that this user has started: the list of running machines
// says so and is held by a lock. So the guest's host key, which is made anew in every ephemeral copy, is not checked.
package remote

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/crypto/ssh"

	"github.com/mkosi-go/mkosi/internal/machine/running"
)

const (
	// VSockPort is where systemd-ssh-generator(8) and mkosi's own units let sshd listen.
	VSockPort = 22
	// ListenPort is the TCP port that the credential ssh.listen asks for. It is not 22, which an sshd that is enabled in
	// the image has already.
	ListenPort = 60022
	// SSHPort is the port of an sshd that is enabled in the image.
	SSHPort = 22
	// patience is how long a guest may take to answer.
	patience = 30 * time.Second
)

// GuestCredentials are the system credentials, by name, that let the owner of a key in as root. With listen, they also
// have systemd 256 or newer start the image's sshd on [ListenPort].
func GuestCredentials(key crypto.PublicKey, listen bool) (map[string]string, error) {
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("making an SSH key of the certificate's: %w", err)
	}
	credentials := map[string]string{"ssh.authorized_keys.root": string(ssh.MarshalAuthorizedKey(public))}
	if listen {
		credentials["ssh.listen"] = strconv.Itoa(ListenPort) + "\n"
	}
	return credentials, nil
}

// UnreachableError is the error of [Dial] when nothing in the guest answers.
type UnreachableError struct {
	Machine string
	err     error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no sshd answers in %s: %v", e.Machine, e.err)
}

func (e *UnreachableError) Unwrap() error { return e.err }

// Hint says what to do about it.
func (e *UnreachableError) Hint() string {
	return "if it has booted already, the image needs an SSH server (package openssh-server) and systemd 256 or newer, or Ssh=always, " +
		"and without VSOCK a network that is set up by DHCP"
}

// RefusedError is the error of [Dial] when the guest does not let the key in.
type RefusedError struct {
	Machine string
	err     error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s does not let root in: %v", e.Machine, e.err)
}

func (e *RefusedError) Unwrap() error { return e.err }

// Hint says what to do about it.
func (e *RefusedError) Hint() string {
	return "SshKey= must belong to the SshCertificate= that the machine was started with, and the image must not have " +
		"/root/.ssh/authorized_keys of its own without that key"
}

// Dial connects with the sshd of a running machine, as root. The client is the caller's to close.
func Dial(ctx context.Context, m running.Machine, key crypto.Signer) (*ssh.Client, error) {
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, fmt.Errorf("using the key for SSH: %w", err)
	}
	var dialers []func() (net.Conn, error)
	if m.CID != 0 {
		dialers = append(dialers, func() (net.Conn, error) { return vsock.DialContext(ctx, m.CID, VSockPort, nil) })
	}
	for _, port := range m.SSHPorts {
		dialers = append(dialers, func() (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		})
	}
	if len(dialers) == 0 {
		return nil, fmt.Errorf("there is no way to %s: it has neither VSOCK nor a port of this host that leads to it", m.Name)
	}
	err = nil
	for _, dial := range dialers {
		client, dialErr := handshake(ctx, dial, signer)
		if dialErr == nil {
			return client, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// The server that is there and says no knows more than a port where none is.
		if err == nil || isRefusal(dialErr) {
			err = dialErr
		}
	}
	if isRefusal(err) {
		return nil, &RefusedError{m.Name, err}
	}
	return nil, &UnreachableError{m.Name, err}
}

// authError marks an error that came after the guest had shown its host key: its sshd is there.
type authError struct{ error }

func (e *authError) Unwrap() error { return e.error }

func isRefusal(err error) bool { return errors.As(err, new(*authError)) }

// handshake makes one attempt.
func handshake(ctx context.Context, dial func() (net.Conn, error), signer ssh.Signer) (*ssh.Client, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	// User networking takes every connection, and closes those that nobody in the guest wants, or that it cannot deliver.
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	there := false
	c, channels, requests, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		User: "root",
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		// See the package comment.
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { there = true; return nil },
	})
	if err != nil {
		conn.Close()
		if there {
			return nil, &authError{err}
		}
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// Command is what is to be run in a guest.
type Command struct {
	Line string // for the shell of root; "" is a login shell
	// Terminal gives it a terminal, of the type Term. The size comes from Resized.
	Terminal bool
	Term     string
	// Columns and Rows are the size of the terminal; zero is unknown.
	Columns, Rows int
	Stdin         io.Reader
	Stdout        io.Writer
	Stderr        io.Writer
}

// LostError is the error of a session whose connection ended before the command did.
type LostError struct{ err error }

func (e *LostError) Error() string {
	return fmt.Sprintf("the connection to the guest is lost: %v", e.err)
}
func (e *LostError) Unwrap() error { return e.err }

// Session is a command that runs in a guest.
type Session struct {
	client  *ssh.Client
	session *ssh.Session
	stop    func() bool
	ctx     context.Context
}

// Start starts a command. When the context ends, the connection does.
func Start(ctx context.Context, client *ssh.Client, c Command) (*Session, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("opening a session in the guest: %w", err)
	}
	session.Stdout, session.Stderr = c.Stdout, c.Stderr
	stdin, err := session.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("opening a session in the guest: %w", err)
	}
	if c.Terminal {
		// No answer is an old terminal type; the guest's programs will say so themselves.
		if err := session.RequestPty(c.Term, c.Rows, c.Columns, ssh.TerminalModes{}); err != nil {
			return nil, fmt.Errorf("asking the guest for a terminal: %w", err)
		}
	}
	if c.Line == "" {
		err = session.Shell()
	} else {
		err = session.Start(c.Line)
	}
	if err != nil {
		return nil, fmt.Errorf("starting the command in the guest: %w", err)
	}
	// It may wait for input that never comes, so nothing waits for it.
	go func() {
		_, _ = io.Copy(stdin, c.Stdin)
		_ = stdin.Close()
	}()
	s := &Session{client: client, session: session, ctx: ctx}
	s.stop = context.AfterFunc(ctx, func() { client.Close() })
	return s, nil
}

// Resize tells the guest the new size of the terminal.
func (s *Session) Resize(columns, rows int) {
	// It is of use to a program that is still there only.
	_ = s.session.WindowChange(rows, columns)
}

// Wait waits until the command has ended, and returns its exit status: 128 and the number of the signal if one killed it,
// as a shell has it. An error is a [LostError], or why the context ended.
func (s *Session) Wait() (status int, err error) {
	defer s.stop()
	err = s.session.Wait()
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return 0, nil
	case s.ctx.Err() != nil:
		return 0, context.Cause(s.ctx)
	case errors.As(err, &exit):
		return exit.ExitStatus(), nil
	}
	return 0, &LostError{err}
}

const (
	// probeEvery is how often a silent guest is asked whether it is there.
	probeEvery = 15 * time.Second
	// probeLimit is how long it may take to answer. Under emulation a guest can be busy for that long.
	probeLimit = time.Minute
)

// KeepAlive asks the guest now and then whether it is there, until the context ends, and closes the connection when it
// does not answer.
func KeepAlive(ctx context.Context, client *ssh.Client) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		late := time.AfterFunc(probeLimit, func() { client.Close() })
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		late.Stop()
		if err != nil {
			return
		}
	}
}
