// Package varlink calls methods of local services over the Varlink protocol
// (https://varlink.org): JSON messages over a Unix socket, with file
// descriptors beside them as systemd passes them.
package varlink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a reply: a service could be anybody's.
const (
	maxReply = 1 << 20
	maxFiles = 16
)

// Timeout is how long a call may take if its context has no deadline.
const Timeout = 30 * time.Second

// Error is the error that a service replied.
type Error struct {
	// Name is its full name, such as "org.varlink.service.MethodNotFound".
	Name string
	// Parameters is its JSON object, or nil.
	Parameters json.RawMessage
}

func (e *Error) Error() string {
	if len(e.Parameters) > 0 && string(e.Parameters) != "{}" {
		return fmt.Sprintf("the service says %s: %s", e.Name, e.Parameters)
	}
	return "the service says " + e.Name
}

// Call calls a method of the service that listens at the socket. Parameters in
// which a number stands for a file mean its place in files, which stay the
// caller's. The reply's parameters are decoded into reply unless that is nil;
// files that came with it are returned in order, for the caller to close. A
// service that replies with an error gives an *[Error]; one that is not there an
// error that wraps unix.ENOENT or unix.ECONNREFUSED.
func Call(ctx context.Context, socket, method string, parameters any, files []*os.File, reply any) ([]*os.File, error) {
	got, err := call(ctx, socket, method, parameters, files, reply)
	if err != nil {
		closeAll(got)
		return nil, fmt.Errorf("calling %s: %w", method, err)
	}
	return got, nil
}

func call(ctx context.Context, socket, method string, parameters any, files []*os.File, reply any) ([]*os.File, error) {
	message, err := json.Marshal(struct {
		Method     string `json:"method"`
		Parameters any    `json:"parameters"`
	}{method, parameters})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UnixConn)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	if err := send(conn, append(message, 0), files); err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	answer, got, err := receive(conn)
	if err != nil {
		return got, errors.Join(context.Cause(ctx), err)
	}
	return got, decode(answer, reply)
}

// send writes a message. The files go with its first bytes.
func send(conn *net.UnixConn, message []byte, files []*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(message, rights, nil)
	if err == nil && n < len(message) {
		_, err = conn.Write(message[n:])
	}
	return err
}

// receive reads the message up to the zero byte that ends it.
func receive(conn *net.UnixConn) (message []byte, files []*os.File, err error) {
	buf := make([]byte, 4096)
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	for {
		n, nrights, flags, _, err := conn.ReadMsgUnix(buf, rights)
		received, rightsErr := parseRights(rights[:max(nrights, 0)]) // -1 with an error
		files = append(files, received...)
		message = append(message, buf[:max(n, 0)]...)
		end := bytes.IndexByte(message, 0)
		switch {
		case end >= 0 && end < len(message)-1:
			return nil, files, errors.New("there is more than one reply")
		case rightsErr != nil:
			return nil, files, rightsErr
		case flags&unix.MSG_CTRUNC != 0 || len(files) > maxFiles:
			return nil, files, errors.New("there are too many files in the reply")
		case end >= 0:
			return message[:end], files, nil
		case err != nil || n <= 0:
			return nil, files, fmt.Errorf("reading the reply: %w", errors.Join(err, errors.New("it is cut short")))
		case len(message) > maxReply:
			return nil, files, fmt.Errorf("the reply is longer than %d bytes", maxReply)
		}
	}
}

// parseRights takes the files out of a control message. ReadMsgUnix has asked
// for them to be closed on exec.
func parseRights(data []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(data)
	if err != nil {
		return nil, fmt.Errorf("reading the reply's files: %w", err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // something else than files
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

// decode reads a reply.
func decode(answer []byte, reply any) error {
	var r struct {
		Parameters json.RawMessage `json:"parameters"`
		Error      string          `json:"error"`
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return fmt.Errorf("reading the reply: %w", err)
	}
	if r.Error != "" {
		return &Error{r.Error, r.Parameters}
	}
	if reply == nil || len(r.Parameters) == 0 {
		return nil
	}
	if err := json.Unmarshal(r.Parameters, reply); err != nil {
		return fmt.Errorf("reading the reply: %w", err)
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
