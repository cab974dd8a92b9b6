package machine

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine/qmp"
)

// TestMachineThatStandsStillIsEnded has QEMU tell that it stopped the machine, and then wait as QEMU does.
func TestMachineThatStandsStillIsEnded(t *testing.T) {
	const wait = "\ntrap 'exit 0' TERM; sleep 1000 & wait"
	for name, tt := range map[string]struct{ script, want string }{
		"a full disk": {`eval "echo '{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"node-name\": \"mkosi\", \"operation\": \"write\", \"action\": \"stop\", \"nospace\": true}}' >&$monitor"`,
			"writing the machine's disk, the file DIR/image.raw: there is no room left on the file system of MOUNT"},
		"a broken processor": {`eval "echo '{\"event\": \"STOP\"}' >&$monitor; read -r line <&$monitor; echo '{\"return\": {\"status\": \"internal-error\"}}' >&$monitor"`,
			"its state is internal-error"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.stage("greet\n" + tt.script + wait)
			s.img.Format, s.img.OutputExtension, s.img.Firmware = config.FormatDisk, "raw", config.FirmwareLinux
			s.table("root")
			want := strings.NewReplacer("DIR", s.dir, "MOUNT", mountPoint(s.dir)).Replace(tt.want)
			if _, err := s.plan().Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// TestMachineThatIsPausedGoesOn stops a machine in the ways that its user can, in QEMU's monitor, and in the one that
// nobody can go on from.
func TestMachineThatIsPausedGoesOn(t *testing.T) {
	for status, want := range map[string]bool{"paused": false, "running": false, "internal-error": true} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			commands := bufio.NewScanner(theirs)
			for _, reply := range []string{`{"QMP": {}}`, `{"return": {}}`, `{"return": {"status": "` + status + `"}}`} {
				fmt.Fprintln(theirs, reply)
				commands.Scan()
			}
		}()
		c, err := qmp.Connect(ours, nil)
		if err != nil {
			t.Fatal(err)
		}
		ended := false
		r := &running{end: func(error) { ended = true }}
		if r.stopped(c); ended != want {
			t.Errorf("%s: ended is %v", status, ended)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestInputOutputErrors(t *testing.T) {
	s := newScene(t)
	s.img.Drives = []config.Drive{{ID: "more", Size: 4096}}
	r := s.runs()
	if err := r.prepareDrives(); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{
		`{"node-name": "mkosi", "action": "report", "nospace": true}`: "",
		`{"node-name": "mkosi", "action": "ignore"}`:                  "",
		`[]`: "",
		`{"node-name": "more", "action": "stop", "operation": "write", "nospace": true}`:           "writing the machine's drive more, the file " + r.drives[0].path + ": there is no room left on the file system of ",
		`{"node-name": "own", "action": "stop", "operation": "write", "nospace": true}`:            "writing the machine's drive own: there is no room left",
		`{"device": "old", "action": "stop", "operation": "read", "reason": "Input/output error"}`: "reading the machine's drive old: Input/output error",
	} {
		got := ""
		if err := r.ioError([]byte(data)); err != nil {
			got = err.Error()
		}
		if want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", data, got, want)
		}
	}
}

func TestMountPoint(t *testing.T) {
	for path, want := range map[string]string{"/proc/self/status": "/proc", "/proc/sys/kernel/x": "/proc", "/x": "/"} {
		if got := mountPoint(path); got != want {
			t.Errorf("%s: got %s, not %s", path, got, want)
		}
	}
}
