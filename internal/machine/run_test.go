package machine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine/notify"
)

// stage makes the host itself the one with the tools, with a program in place of QEMU: a script that has the arguments in
// $@, and the connection to its monitor on descriptor $monitor.
func (s *scene) stage(script string) {
	s.t.Helper()
	bin := s.t.TempDir()
	s.write(filepath.Join(bin, "qemu-system-x86_64"), []byte(`#!/bin/sh
previous=
for word in "$@"; do
	case $previous,$word in
	-chardev,socket,id=mkosi-qmp,fd=*) monitor=${word##*=} ;;
	-chardev,socket,id=port0,fd=*) port=${word##*=} ;;
	-smbios,type=11,path=*) credential=${word##*=} ;;
	-fw_cfg,*) credential=${word##*=} ;;
	esac
	previous=$word
done
greet() {
	eval "echo '{\"QMP\": {}}' >&$monitor; read -r line <&$monitor; echo '{\"return\": {}}' >&$monitor"
}
`+script+"\n"), 0o755)
	s.img.ToolsTree, s.img.ExtraSearchPaths, s.img.TPM = "", []string{bin}, config.Disabled
	s.img.Format, s.img.OutputExtension = config.FormatCPIO, "cpio"
	s.kernel()
	s.write(filepath.Join(s.dir, "image.cpio"), nil, 0o644)
	s.opts.Host.Environment = map[string]string{"PATH": os.Getenv("PATH")}
	s.probes.ioUring = func() bool { return false }
}

func TestRun(t *testing.T) {
	s := newScene(t)
	s.stage(`greet
read -r typed
echo "typed $typed"
cat "$credential" | tr -d '\0'
eval "echo from the guest >&$port"
`)
	var printed bytes.Buffer
	s.opts.Console = Console{Input: strings.NewReader("hello\n"), Output: &printed}
	m := s.plan()
	m.AddCredential("z.last", "secret")
	var got []byte
	m.AddPort(Port{Name: "port", Serve: func(conn net.Conn) { got, _ = io.ReadAll(conn) }})
	status, err := m.Run(t.Context())
	if err != nil || status != 0 {
		t.Fatalf("got %d, %v", status, err)
	}
	const credential = "io.systemd.credential.binary:z.last=c2VjcmV0"
	if want := "typed hello\n" + credential; printed.String() != want {
		t.Errorf("the console has %q, want %q", printed.String(), want)
	}
	if string(got) != "from the guest\n" {
		t.Errorf("the port had %q", got)
	}
	if strings.Contains(s.said.String(), "secret") || strings.Contains(s.said.String(), "c2VjcmV0") {
		t.Errorf("a secret was logged:\n%s", s.said.String())
	}
}

func TestRunReturnsWhatTheGuestReports(t *testing.T) {
	s := newScene(t)
	s.stage(`eval "echo EXIT_STATUS=7 >&$port"`)
	m := s.plan()
	receiver := &notify.Receiver{}
	if err := m.Notify(receiver); err != nil {
		t.Fatal(err)
	}
	status, err := m.Run(t.Context())
	if err != nil || status != 7 {
		t.Errorf("got %d, %v", status, err)
	}
}

func TestRunFailsAsQEMUDoes(t *testing.T) {
	s := newScene(t)
	s.stage("echo 'qemu: no such thing' >&2; exit 3")
	_, err := s.plan().Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit code 3") || !strings.Contains(err.Error(), "qemu: no such thing") {
		t.Errorf("got %v", err)
	}
}

// when is a console that calls a function when the guest prints something.
type when func(printed string)

func (w when) Write(data []byte) (int, error) {
	w(string(data))
	return len(data), nil
}

func TestRunEndsWhenItIsTold(t *testing.T) {
	s := newScene(t)
	// As QEMU, it takes being told to end for a good end.
	s.stage("trap 'exit 0' TERM; greet; echo up; sleep 1000 & wait")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	s.opts.Console = Console{Output: when(func(string) { cancel(errTold) })}
	if _, err := s.plan().Run(ctx); !errors.Is(err, errTold) {
		t.Errorf("got %v", err)
	}
}

var errTold = errors.New("told to end")

func TestPowerDown(t *testing.T) {
	s := newScene(t)
	s.stage(`greet; echo up; eval "read -r line <&$monitor; echo \"\$line\"; echo '{\"return\": {}}' >&$monitor"`)
	var printed strings.Builder
	var m *Machine
	asked := make(chan error, 1)
	s.opts.Console = Console{Output: when(func(text string) {
		printed.WriteString(text)
		if text == "up\n" {
			go func() { asked <- m.PowerDown(t.Context()) }()
		}
	})}
	m = s.plan()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.PowerDown(ended); err == nil {
		t.Error("a machine that does not run was powered down")
	}
	if _, err := m.Run(t.Context()); err != nil || !strings.Contains(printed.String(), `"system_powerdown"`) {
		t.Errorf("got %v, and QEMU printed %q", err, printed.String())
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

func TestKeepsChanges(t *testing.T) {
	for _, tt := range []struct {
		format    config.Format
		ephemeral bool
		drives    []config.Drive
		want      bool
	}{
		{config.FormatDisk, false, nil, true},
		{config.FormatDisk, true, nil, false},
		{config.FormatDirectory, false, nil, true},
		{config.FormatCPIO, false, nil, false},
		{config.FormatUKI, false, []config.Drive{{ID: "a"}}, false},
		{config.FormatDisk, true, []config.Drive{{ID: "a"}, {ID: "b", Flags: []string{"persist"}}}, true},
	} {
		m := &Machine{img: &config.Image{Format: tt.format, Ephemeral: tt.ephemeral, Drives: tt.drives}}
		if got := m.KeepsChanges(); got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

func TestHelperThatFailsEndsTheMachine(t *testing.T) {
	s := newScene(t)
	s.stage("exec sleep 1000")
	s.write(filepath.Join(s.img.ExtraSearchPaths[0], "virtiofsd"), []byte("#!/bin/sh\necho no such directory >&2; exit 1\n"), 0o755)
	s.img.RuntimeTrees = []config.Tree{{Source: s.dir}}
	_, err := s.plan().Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "running the program that shares "+s.dir) || !strings.Contains(err.Error(), "no such directory") {
		t.Errorf("got %v", err)
	}
}

func TestOneMachineAtATime(t *testing.T) {
	s := newScene(t)
	s.stage("exit 0")
	s.img.Format, s.img.OutputExtension, s.img.Firmware = config.FormatDisk, "raw", config.FirmwareLinux
	s.table("root")
	f, err := os.Open(filepath.Join(s.dir, "image.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tt := range []struct {
		how       int
		ephemeral bool
		busy      bool
	}{{unix.LOCK_EX, false, true}, {unix.LOCK_SH, false, true}, {unix.LOCK_SH, true, false}, {unix.LOCK_UN, false, false}} {
		if err := unix.Flock(int(f.Fd()), tt.how); err != nil {
			t.Fatal(err)
		}
		s.img.Ephemeral = tt.ephemeral
		var locked *lockedError
		if _, err := s.plan().Run(t.Context()); errors.As(err, &locked) != tt.busy || err != nil && !tt.busy {
			t.Errorf("lock %d, Ephemeral=%v: got %v", tt.how, tt.ephemeral, err)
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// TestRegistration has a service in the place of systemd-machined.
func TestRegistration(t *testing.T) {
	s := newScene(t)
	s.stage("greet; exit 0")
	s.img.Register, s.probes.registry = config.Enabled, filepath.Join(t.TempDir(), "registry")
	listener, err := net.Listen("unix", s.probes.registry)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	calls := make(chan string, 2)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadBytes(0)
			var call struct {
				Method     string
				Parameters struct{ Name, Class string }
			}
			if json.Unmarshal(bytes.TrimSuffix(line, []byte{0}), &call) == nil {
				calls <- call.Method + " " + call.Parameters.Name + " " + call.Parameters.Class
			}
			conn.Write([]byte("{\"parameters\": {}}\x00"))
			conn.Close()
		}
	}()
	if _, err := s.plan().Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-calls + ", " + <-calls; got != "io.systemd.Machine.Register name vm, io.systemd.Machine.Unregister name " {
		t.Errorf("the service heard %q", got)
	}
}
