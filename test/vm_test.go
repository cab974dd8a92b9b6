//go:build integration

package test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/archive"
)

// guestProject makes a project with a disk, and beside it an initrd that is one program, testdata/guest.
func guestProject(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	initrd := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(initrd, "init"), "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	must(t, build)
	if err := errors.Join(os.Mkdir(filepath.Join(initrd, "dev"), 0o755), unix.Mknod(filepath.Join(initrd, "dev/console"), unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1)))); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte(`[Output]
Format=disk
OutputDirectory=mkosi.output
[Content]
Bootable=no
BaseTrees=`+smallTree(t)+`
[Runtime]
Firmware=linux
Linux=`+machineRoot()+`/boot/vmlinuz
DiskType=nvme
RAM=512M
CPUs=1
Credentials=test.one=1 test.two="a b"
`), 0o644)
	writeFile(t, filepath.Join(dir, "mkosi.extra/file"), []byte("of the image\n"), 0o644)
	must(t, mkosi(dir, "-f"))
	f, err := os.Create(filepath.Join(dir, "mkosi.output/image.initrd"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(archive.WriteCPIO(context.Background(), f, initrd, archive.CPIOOptions{}), f.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestVirtualMachine starts a machine by its kernel and has the guest tell what it sees: that takes seconds even where
// the processor is emulated. The project and the kernel lie where a tools tree has its own files.
func TestVirtualMachine(t *testing.T) {
	project, dir := guestProject(t), "/usr/src"
	writeFile(t, filepath.Join(project, "vmlinuz"), readFile(t, filepath.Join(machineRoot(), "boot/vmlinuz")), 0o644)
	must(t, exec.Command("mount", "--bind", project, dir))
	t.Cleanup(func() { must(t, exec.Command("umount", dir)) })
	shared := filepath.Join(dir, "shared")
	writeFile(t, filepath.Join(shared, "from-host"), []byte("hello guest\n"), 0o644)
	image := filepath.Join(dir, "mkosi.output/image.raw")
	before, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, mkosi(dir, "--tools-tree="+machineRoot(), "--ephemeral=yes", "--runtime-size=1G", "--tpm=yes", "--runtime-tree="+shared, "--linux="+dir+"/vmlinuz",
		"--kernel-command-line-extra=test.extra", "vm"))
	if r.code != 7 {
		t.Errorf("the exit code is %d, not what the guest reported", r.code)
	}
	said := strings.ReplaceAll(r.stdout, "\r", "")
	for _, want := range []string{
		"guest: credentials: test.one=1 test.two=a b\n", "guest: TPM: true\n", "guest: shared: hello guest\n",
		"guest: sectors: 2097152\n", "guest: disk: of the image\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the guest does not say %q", want)
		}
	}
	_, line, _ := strings.Cut(said, "guest: command line: ")
	line, _, _ = strings.Cut(line, "\n")
	for _, want := range []string{"root=PARTUUID=", " test.extra", " console=hvc0 "} {
		if !strings.Contains(line, want) {
			t.Errorf("there is no %q on the kernel command line %q", want, line)
		}
	}
	if got, err := os.ReadFile(filepath.Join(shared, "from-guest")); err != nil || string(got) != "hello host\n" {
		t.Errorf("the guest left %q, error %v", got, err)
	}
	if after, err := os.ReadFile(image); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the image is not what it was, error %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "mkosi.output/.mkosi-*")); err != nil || len(left) > 0 {
		t.Errorf("%v was left behind, error %v", left, err)
	}
	if t.Failed() {
		t.Logf("the console:\n%s\nmkosi:\n%s", said, r.stderr)
	}
}

// TestVirtualMachineIsKilled kills mkosi as nobody can catch it, and waits until everything that it started has ended.
func TestVirtualMachineIsKilled(t *testing.T) {
	dir := guestProject(t)
	cmd := mkosi(dir, "--tools-tree="+machineRoot(), "--tpm=yes", "--ephemeral=yes", "--kernel-command-line-extra=test.wait", "vm")
	console, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Whoever has the pipe open lives.
	alive, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	cmd.Stderr = theirs
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	buf, said := make([]byte, 4096), ""
	for !strings.Contains(said, "guest: waiting") {
		n, err := console.Read(buf)
		said += string(buf[:n])
		if err != nil {
			t.Fatalf("the guest said %q, then %v", said, err)
		}
	}
	second := run(t, mkosi(dir, "--tools-tree="+machineRoot(), "vm"))
	if second.code != 1 || !strings.Contains(second.stderr, "is in use by another machine") || !strings.Contains(second.stderr, "Ephemeral=yes") {
		t.Errorf("a second machine of the image, which is not ephemeral: exit code %d, %s", second.code, second.stderr)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// They end when the last process has.
	if _, err := io.Copy(io.Discard, console); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, alive); err != nil {
		t.Error(err)
	}
	cmd.Wait()
}
