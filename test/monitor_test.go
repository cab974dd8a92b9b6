//go:build integration

package test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/machine/qmp"
)

// TestMonitorHandsOverCommandLine has QEMU itself make a machine with a kernel command line that is not among its
// arguments, and a kernel print what it got.
func TestMonitorHandsOverCommandLine(t *testing.T) {
	dir := t.TempDir()
	kernel := filepath.Join(dir, "kernel")
	writeFile(t, kernel, printingKernel(), 0o644)
	console := filepath.Join(dir, "console")
	cmd := exec.Command(filepath.Join(project, "test/machine"), "--share", dir, machineRoot(), "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "128M",
		"-nographic", "-nodefaults", "-nic", "none", "-serial", "file:"+console, "-kernel", kernel, "--preconfig", "-qmp", "stdio")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() }) // it has ended unless the test has failed
	ended := make(chan struct{}, 1)
	client, err := qmp.Connect(struct {
		io.Reader
		io.WriteCloser
	}{stdout, stdin}, func(_ *qmp.Client, e qmp.Event) {
		if e.Name == "SHUTDOWN" {
			ended <- struct{}{}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	const line = "systemd.set_credential_binary=a,b:c2VjcmV0 \"quoted words\""
	if err := client.Begin(line); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := string(readFile(t, console)); !strings.HasSuffix(got, line) { // after what the BIOS says
		t.Errorf("the kernel got %q, not %q", got, line)
	}
}

// TestVirtualMachineOnFullFileSystem has a guest write to its disk until the file system that it lies on is full. QEMU
// stops the guest then; mkosi must not wait for it to go on.
func TestVirtualMachineOnFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	output := filepath.Join(dir, "mkosi.output")
	writeFile(t, filepath.Join(dir, "mkosi.conf"), []byte(`[Output]
Format=disk
OutputDirectory=mkosi.output
[Content]
KernelCommandLine=root=none
[Runtime]
Firmware=linux
Linux=kernel
Ephemeral=yes
RAM=128M
`), 0o644)
	writeFile(t, filepath.Join(dir, "kernel"), writingKernel(), 0o644)
	writeFile(t, filepath.Join(output, "unused"), nil, 0o644)
	must(t, exec.Command("mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", output))
	t.Cleanup(func() { must(t, exec.Command("umount", output)) })
	writeFile(t, filepath.Join(output, "image.raw"), nil, 0o644)
	if err := os.Truncate(filepath.Join(output, "image.raw"), 1<<30); err != nil {
		t.Fatal(err)
	}
	r := run(t, mkosi(dir, "--tools-tree="+machineRoot(), "vm"))
	if r.code != 1 || !strings.Contains(r.stderr, "writing the machine's disk, the file "+output) ||
		!strings.Contains(r.stderr, "there is no room left on the file system of "+output) {
		t.Errorf("exit code %d\n%s\nthe console:\n%s", r.code, r.stderr, r.stdout)
	}
	if left, err := filepath.Glob(filepath.Join(output, ".mkosi-*")); err != nil || len(left) > 0 {
		t.Errorf("%v was left behind, error %v", left, err)
	}
}

// realModeKernel is a program that is started as a kernel, by the boot protocol of Linux on x86, version 2.2, but runs in
// real mode, where the BIOS serves it. Its segment has data at 0x80.
func realModeKernel(code, data []byte) []byte {
	const setup, start = 0x200, 0x40      // the second sector, where the segment begins, and the code in it
	program := make([]byte, 5*512)        // of which four sectors are run in real mode
	program[0x1f1] = 4                    // setup_sects
	copy(program[0x1fe:], "\x55\xaa")     // boot_flag
	copy(program[setup:], "\xeb\x3eHdrS") // jmp start; header
	copy(program[setup+6:], "\x02\x02")   // version
	copy(program[setup+0x11:], "\x01")    // loadflags: LOADED_HIGH
	copy(program[setup+start:], code)
	copy(program[setup+0x80:], data)
	return program
}

// writingKernel has the BIOS write to the first disk, 64 sectors at a time, for ever.
func writingKernel() []byte {
	return realModeKernel([]byte{
		0x8c, 0xc8, // mov ax, cs
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x80, 0, // mov si, 0x80
		0xb8, 0, 0x43, // mov ax, 0x4300: extended write
		0xb2, 0x80, // mov dl, 0x80: the first disk
		0xcd, 0x13, // int 0x13
		0x81, 0x06, 0x88, 0, 64, 0, // add word [0x88], 64
		0x83, 0x16, 0x8a, 0, 0, // adc word [0x8a], 0
		0xeb, 0xe5, // jmp to the first instruction
	}, []byte{16, 0, 64, 0, 0, 0, 0, 0x10, 0, 8}) // size of this packet, sectors, address 1000:0000, first sector 2048
}

// printingKernel prints its command line, which QEMU puts at 2000:0000, on the first serial line, and switches off.
func printingKernel() []byte {
	return realModeKernel([]byte{
		0xb8, 0, 0x20, // mov ax, 0x2000
		0x8e, 0xd8, // mov ds, ax
		0x31, 0xf6, // xor si, si
		0xfc,       // cld
		0xac,       // lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x06, // jz to the end of the line
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xee,       // out dx, al
		0xeb, 0xf5, // jmp to lodsb
		0xba, 0x04, 0x06, // mov dx, 0x604: power management of the board
		0xb8, 0, 0x20, // mov ax, 0x2000
		0xef,       // out dx, ax
		0xf4,       // hlt
		0xeb, 0xfd, // jmp to hlt
	}, nil)
}
