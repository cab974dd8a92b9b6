package program

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// service answers calls at a socket: the reply's JSON, and a file for each of contents. It sends what it was asked, and
// what kinds of files came with that.
func service(t *testing.T, reply string, contents ...string) (socket string, asked <-chan call) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan call, 1)
	go func() {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		got <- readCall(c)
		var rights []int
		for _, content := range contents {
			fd, err := unix.MemfdCreate(content, unix.MFD_CLOEXEC)
			if err != nil {
				t.Error(err)
			}
			defer unix.Close(fd)
			rights = append(rights, fd)
		}
		c.WriteMsgUnix([]byte(reply+"\x00"), unix.UnixRights(rights...), nil)
	}()
	return socket, got
}

// call is what a service was asked.
type call struct {
	Method     string
	Parameters map[string]any
	Files      []string // what /proc calls them
}

func readCall(c *net.UnixConn) call {
	data, rights := make([]byte, 4096), make([]byte, 256)
	n, nr, _, _, _ := c.ReadMsgUnix(data, rights)
	var asked call
	json.Unmarshal([]byte(strings.TrimRight(string(data[:max(n, 0)]), "\x00")), &asked)
	messages, _ := unix.ParseSocketControlMessage(rights[:max(nr, 0)])
	for _, m := range messages {
		fds, _ := unix.ParseUnixRights(&m)
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), "received")
			name, _ := os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(fd)))
			asked.Files = append(asked.Files, name)
			f.Close()
		}
	}
	return asked
}

// selfProcess is a process with a user namespace: this one.
func selfProcess(t *testing.T) *os.Process {
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAllocate(t *testing.T) {
	socket, asked := service(t, `{"parameters":{"name":"mkosi-1"}}`)
	o, err := Parse([]string{"--map-delegate", "2", "--map-foreign", "--bind-foreign", "/a", "/b"}, "/")
	if err != nil {
		t.Fatal(err)
	}
	a := allocation{Size: 1, Type: "self", Delegate: o.ranges(), MapForeign: o.mapForeign}
	if err := (services{resource: socket}).allocate(selfProcess(t), a); err != nil {
		t.Fatal(err)
	}
	got := <-asked
	namespace, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != "io.systemd.NamespaceResource.AllocateUserRange" || len(got.Files) != 1 || got.Files[0] != namespace {
		t.Errorf("asked %+v", got)
	}
	want := map[string]any{"size": 1.0, "type": "self", "delegateContainerRanges": 3.0, "mapForeign": true,
		"userNamespaceFileDescriptor": 0.0, "mangleName": true}
	for key, value := range want {
		if got.Parameters[key] != value {
			t.Errorf("%s is %v, want %v", key, got.Parameters[key], value)
		}
	}
	if _, ok := got.Parameters["target"]; ok || !strings.HasPrefix(got.Parameters["name"].(string), "mkosi-") {
		t.Errorf("asked %+v", got)
	}
}

func TestMountDirectory(t *testing.T) {
	tree, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	namespace, err := os.Open("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	socket, asked := service(t, `{"parameters":{"mountFileDescriptor":1}}`, "other", "mount")
	mount, err := services{mount: socket}.mountDirectory(tree, namespace, true)
	if err != nil {
		t.Fatal(err)
	}
	defer mount.Close()
	if name, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(mount.Fd()))); !strings.Contains(name, "mount") {
		t.Errorf("took %s for the mount", name)
	}
	got := <-asked
	if got.Method != "io.systemd.MountFileSystem.MountDirectory" || got.Parameters["mode"] != "foreign" || got.Parameters["readOnly"] != true ||
		len(got.Files) != 2 || got.Files[got.index(t, "directoryFileDescriptor")] != tree.Name() ||
		!strings.HasPrefix(got.Files[got.index(t, "userNamespaceFileDescriptor")], "user:") {
		t.Errorf("asked %+v", got)
	}
}

// index is which file a parameter means.
func (c call) index(t *testing.T, parameter string) int {
	n, ok := c.Parameters[parameter].(float64)
	if !ok || int(n) >= len(c.Files) {
		t.Fatalf("%s is %v", parameter, c.Parameters[parameter])
	}
	return int(n)
}

func TestServiceErrors(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	tests := []struct{ reply, want, hint string }{
		{"", "systemd-nsresourced is not running", "systemd 260 or newer"},
		{`{"error":"io.systemd.NamespaceResource.UserNamespaceInterfaceNotSupported"}`, "NotSupported", "lsm="},
		{`{"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"type"}}`, `"type"`, "seems to be older"},
		{`{"error":"io.systemd.NamespaceResource.TooManyDelegations"}`, "TooManyDelegations", "systemd 260"},
	}
	for _, tt := range tests {
		socket := none
		if tt.reply != "" {
			socket, _ = service(t, tt.reply)
		}
		err := services{resource: socket}.allocate(selfProcess(t), allocation{})
		var e *ServiceError
		if !errors.As(err, &e) || !strings.Contains(e.Error(), tt.want) || !strings.Contains(e.Hint(), tt.hint) {
			t.Errorf("%s: got %v", tt.reply, err)
		}
	}
	for _, reply := range []string{`{"parameters":{}}`, `{"parameters":{"mountFileDescriptor":1}}`, `{"parameters":{"mountFileDescriptor":-1}}`} {
		socket, _ := service(t, reply, "only")
		if _, err := (services{mount: socket}).mountDirectory(os.Stdin, os.Stdin, false); err == nil || !strings.Contains(err.Error(), "without a mount") {
			t.Errorf("%s: got %v", reply, err)
		}
	}
}
