package varlink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serve is a service that takes one call and answers it with these bytes and a file for each of contents. It returns
// its socket, and what it was asked once it has answered.
func serve(t *testing.T, answer string, contents ...string) (socket string, asked <-chan string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		message, files, err := receive(c.(*net.UnixConn))
		text := string(message)
		for _, f := range files {
			data := make([]byte, 64)
			n, _ := f.Read(data)
			text += "|" + string(data[:n])
		}
		closeAll(files)
		var reply []*os.File
		for _, content := range contents {
			reply = append(reply, file(t, content))
		}
		if err == nil && answer != "" {
			send(c.(*net.UnixConn), []byte(answer), reply)
		}
		closeAll(reply)
		got <- text
	}()
	return socket, got
}

// file is an open file with this content.
func file(t *testing.T, content string) *os.File {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Error(err)
	}
	f := os.NewFile(uintptr(fd), "test")
	f.WriteAt([]byte(content), 0)
	return f
}

func TestCall(t *testing.T) {
	socket, asked := serve(t, `{"parameters":{"a":[1,2]}}`+"\x00", "first", "second")
	f := file(t, "mine")
	defer f.Close()
	var reply struct{ A []int }
	files, err := Call(t.Context(), socket, "a.b.C", map[string]int{"x": 0}, []*os.File{f}, &reply)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(files)
	if got, want := <-asked, `{"method":"a.b.C","parameters":{"x":0}}|mine`; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	if len(reply.A) != 2 || len(files) != 2 {
		t.Fatalf("got %v and %d files", reply, len(files))
	}
	data := make([]byte, 6)
	if _, err := files[1].ReadAt(data, 0); err != nil || string(data) != "second" {
		t.Errorf("the second file holds %q, %v", data, err)
	}
	if flags, err := unix.FcntlInt(files[0].Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Error("a received file would be inherited by children")
	}
}

func TestCallLong(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	socket, _ := serve(t, `{"parameters":{"a":"`+long+`"}}`+"\x00")
	var reply struct{ A string }
	if _, err := Call(t.Context(), socket, "a.b.C", struct{ B string }{long}, nil, &reply); err != nil || reply.A != long {
		t.Errorf("got %d bytes, %v", len(reply.A), err)
	}
}

func TestCallErrors(t *testing.T) {
	tests := []struct{ answer, want string }{
		{`{"error":"a.b.Broken","parameters":{"why":"so"}}` + "\x00", `a.b.Broken: {"why":"so"}`},
		{`{"error":"a.b.Broken"}` + "\x00", "a.b.Broken"},
		{`{"parameters":{}}`, "cut short"},
		{"", "cut short"},
		{"not JSON\x00", "reading the reply"},
		{"{}\x00{}\x00", "more than one reply"},
		{strings.Repeat(" ", maxReply+10_000), "longer than"},
	}
	for _, tt := range tests {
		socket, _ := serve(t, tt.answer)
		files, err := Call(t.Context(), socket, "a.b.C", struct{}{}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "a.b.C") || files != nil {
			t.Errorf("%.30q: got %v", tt.answer, err)
		}
	}
	socket, _ := serve(t, tests[0].answer)
	var e *Error
	if _, err := Call(t.Context(), socket, "m", struct{}{}, nil, nil); !errors.As(err, &e) || e.Name != "a.b.Broken" {
		t.Errorf("got %v", err)
	}
}

func TestCallTooManyFiles(t *testing.T) {
	before := openFiles(t)
	socket, asked := serve(t, "{}\x00", bytesTimes(maxFiles+1)...)
	if _, err := Call(t.Context(), socket, "m", struct{}{}, nil, nil); err == nil || !strings.Contains(err.Error(), "too many files") {
		t.Errorf("got %v", err)
	}
	<-asked
	for range 100 {
		if openFiles(t) <= before+2 { // the listener, and the poller of the first call
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d files are open, and were %d before", openFiles(t), before)
}

func bytesTimes(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = string(bytes.Repeat([]byte("x"), i))
	}
	return list
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestCallMissing(t *testing.T) {
	if _, err := Call(t.Context(), filepath.Join(t.TempDir(), "none"), "m", struct{}{}, nil, nil); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v", err)
	}
}

// TestCallCancelled has a service that never answers.
func TestCallCancelled(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Call(ctx, socket, "m", struct{}{}, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"parameters":{"a":1}}`))
	f.Add([]byte(`{"error":"a.b.C","parameters":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var reply map[string]json.RawMessage
		if err := decode(data, &reply); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}
