//go:build integration

package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signalledGuest is a project with programs in the places of QEMU and virtiofsd, which note what happens to them in the
// file log. The machine says so when it is up; it shuts down when it is asked to, unless it is told to be stubborn. All processes
// of virtiofsd have the mark in their command lines.
func signalledGuest(t *testing.T, mark string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "image/usr"), 0o755), os.Mkdir(filepath.Join(dir, "bin"), 0o755)); err != nil {
		t.Fatal(err)
	}
	writeTree(t, dir, map[string]string{
		"mkosi.conf": "[Output]\nFormat=directory\n[Content]\nBootable=no\n[Runtime]\nFirmware=linux\nLinux=kernel\nKVM=no\nVSock=no\nTPM=no\nConsole=read-only\n" +
			"[Build]\nExtraSearchPaths=bin\n",
		"kernel": "no kernel",
	})
	log := filepath.Join(dir, "log")
	for name, script := range map[string]string{
		"qemu-system-x86_64": `
for word; do
	case $previous,$word in
	-chardev,socket,id=mkosi-qmp,fd=*) monitor=${word##*=} ;;
	esac
	case $word in *stubborn*) stubborn=yes ;; esac
	previous=$word
done
eval "exec 8>&$monitor 9<&$monitor"
echo '{"QMP": {}}' >&8
while read -r line <&9; do
	echo '{"return": {}}' >&8
	case $line in
	*qmp_capabilities*) echo up | tee -a LOG ;;
	*system_powerdown*)
		echo asked >> LOG
		[ -n "$stubborn" ] || exit 0
		;;
	esac
done
`,
		"virtiofsd": "exec sleep MARK\n",
	} {
		text := "#!/bin/sh\n" + strings.NewReplacer("LOG", log, "MARK", mark).Replace(script)
		writeFile(t, filepath.Join(dir, "bin", name), []byte(text), 0o755)
	}
	return dir
}

// awaitLine waits until a file has a line.
func awaitLine(t *testing.T, path, line string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if strings.Contains("\n"+string(data), "\n"+line+"\n") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never says %q, but\n%s", path, line, data)
		}
	}
}

// TestVirtualMachineIsAskedToShutDown ends mkosi vm in each way that there is. A guest whose changes last must be asked
// first, and nothing that belongs to the machine be left.
func TestVirtualMachineIsAskedToShutDown(t *testing.T) {
	for i, tt := range []struct {
		name    string
		args    []string
		signals []syscall.Signal // the second is sent when the guest has been asked
		group   bool             // they go to the whole group, as those of a terminal do
		asked   bool
		code    int
		says    string
	}{
		{"termination", nil, []syscall.Signal{syscall.SIGTERM}, false, true, 128 + 15, "the guest has shut down"},
		{"interrupt of the group", nil, []syscall.Signal{syscall.SIGINT}, true, true, 128 + 2, "the guest has shut down"},
		{"closed terminal", nil, []syscall.Signal{syscall.SIGHUP}, true, true, 128 + 1, "the guest has shut down"},
		{"second signal", []string{"--", "stubborn"}, []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, false, true, 128 + 2, "as if its power had failed"},
		{"ephemeral", []string{"--ephemeral=yes"}, []syscall.Signal{syscall.SIGTERM}, false, false, 128 + 15, "as if its power had failed"},
		{"kill", nil, []syscall.Signal{syscall.SIGKILL}, false, false, 128 + 9, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mark := fmt.Sprintf("%d.%d", 300000+i, os.Getpid())
			dir := signalledGuest(t, mark)
			cmd := mkosi(dir, append([]string{"vm"}, tt.args...)...)
			var said strings.Builder
			cmd.Stderr = &said
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			log := filepath.Join(dir, "log")
			awaitLine(t, log, "up")
			for i, s := range tt.signals {
				if i > 0 {
					awaitLine(t, log, "asked")
				}
				pid := cmd.Process.Pid
				if tt.group {
					pid = -pid
				}
				if err := syscall.Kill(pid, s); err != nil {
					t.Fatal(err)
				}
			}
			// It fails, since it was ended.
			_ = cmd.Wait()
			if code := exitCodeOf(cmd); code != tt.code || !strings.Contains(said.String(), tt.says) {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, &said)
			}
			if asked := strings.Contains(string(readFile(t, log)), "asked"); asked != tt.asked {
				t.Errorf("the guest was asked: %t", asked)
			}
			awaitGone(t, mark)
			awaitGone(t, filepath.Join(dir, "bin/qemu"))
		})
	}
}

// awaitGone waits until no process has the mark in its command line.
func awaitGone(t *testing.T, mark string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := marked(t, mark)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes %v are left", left)
		}
	}
}

// A terminal that is closed takes the console away, and nothing else of the machine.
func TestVirtualMachineOutlivesItsTerminal(t *testing.T) {
	for i, mode := range []string{"native", "interactive", "read-only"} {
		t.Run(mode, func(t *testing.T) {
			mark := fmt.Sprintf("31000%d.%d", i, os.Getpid())
			dir := signalledGuest(t, mark)
			term := onTerminal(t, mkosi(dir, "--console="+mode, "vm"))
			log := filepath.Join(dir, "log")
			awaitLine(t, log, "up")
			if err := term.master.Close(); err != nil {
				t.Fatal(err)
			}
			if code := term.code(); code != 128+1 && code != 1 { // the broken console may come before the signal
				t.Errorf("exit code %d", code)
			}
			awaitLine(t, log, "asked")
			awaitGone(t, mark)
		})
	}
}

// What a guest has done to the terminal is undone when the machine has ended.
func TestVirtualMachineGivesTheTerminalBack(t *testing.T) {
	for _, mode := range []string{"native", "interactive", "read-only"} {
		dir := signalledGuest(t, "1000")
		term := onTerminal(t, mkosi(dir, "--console="+mode, "vm"))
		awaitLine(t, filepath.Join(dir, "log"), "up")
		if err := syscall.Kill(term.cmd.Process.Pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		term.code()
		term.await("\x1b[?25h")   // the cursor
		term.await("\x1b[?1000l") // the mouse
	}
}
