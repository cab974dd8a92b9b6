//go:build integration

package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/efi/pcr"
	"github.com/mkosi-go/mkosi/internal/efi/pe"
)

// bootsVariable names the environment variable that, when it is "all", adds to TestBoots what does not run every time:
//
//	MKOSI_TEST_BOOTS=all test/run -run TestBoots
const bootsVariable = "MKOSI_TEST_BOOTS"

// bootLimit is how long a machine may run. Its processor is emulated, and the slowest takes minutes on a busy machine.
const bootLimit = 20 * time.Minute

// TestBoots boots images in virtual machines with mkosi's own verbs.
func TestBoots(t *testing.T) {
	t.Run("bootable", testBootable)
	t.Run("flipped-bit", testFlippedBit)
	t.Run("sysext-integration", testSysextIntegration)
	if os.Getenv(bootsVariable) == "all" {
		for _, c := range bootCases() {
			t.Run(c.name, c.run)
		}
	}
}

// onMachine is the command that runs mkosi with the programs of the machine root.
func onMachine(dir string, args ...string) *exec.Cmd {
	return withTools(machineRoot(), dir, args...)
}

// withTools is the command that runs mkosi with the programs of a tree.
func withTools(tools, dir string, args ...string) *exec.Cmd {
	return mkosi(dir, append([]string{"--tools-tree", tools}, args...)...)
}

// tested is what mkosi test --json says.
type tested struct {
	Passed      bool
	State       string
	FailedUnits []string
	BootSeconds float64
	Tests       []struct {
		Name    string
		Passed  bool
		Reason  string
		Seconds float64
	}
	Error               string
	ConsoleLog, Journal string
}

// testImage runs mkosi test with these arguments, has all tests pass, and returns what they printed.
func testImage(t *testing.T, cmd *exec.Cmd) (report tested, said string) {
	t.Helper()
	r := run(t, cmd)
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%s: exit code %d: %v\n%s%s", strings.Join(cmd.Args, " "), r.code, err, r.stdout, r.stderr)
	}
	t.Logf("%s after %.0f s", report.State, report.BootSeconds)
	for _, test := range report.Tests {
		t.Logf("%s: passed %t %s (%.1f s)", test.Name, test.Passed, test.Reason, test.Seconds)
	}
	if r.code != 0 || !report.Passed || report.Error != "" || len(report.FailedUnits) > 0 {
		t.Fatalf("exit code %d\n%s%s\nThe console:\n%s", r.code, r.stdout, r.stderr, lastPart(report.ConsoleLog))
	}
	return report, r.stderr
}

// hasTests says which tests were run: one that is not there does not fail.
func hasTests(t *testing.T, report tested, names ...string) {
	t.Helper()
	var got []string
	for _, test := range report.Tests {
		got = append(got, test.Name)
	}
	for _, name := range names {
		if !slices.Contains(got, name) {
			t.Errorf("%s was not among the tests that were run: %q", name, got)
		}
	}
}

// lastPart is the end of a log.
func lastPart(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// watchMachine runs a machine until it prints one of the texts, and returns all that it printed until then. It ends the
// machine with a signal, as a user does.
func watchMachine(t *testing.T, cmd *exec.Cmd, until ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	bounded := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	var stderr bytes.Buffer
	bounded.Stderr = &stderr
	out, err := bounded.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bounded.Start(); err != nil {
		t.Fatal(err)
	}
	printed, found := &strings.Builder{}, false
	in := bufio.NewReader(out)
	for !found {
		b, err := in.ReadByte() // what is waited for need not end its line
		if err != nil {
			break
		}
		printed.WriteByte(b)
		for _, text := range until {
			found = found || strings.HasSuffix(printed.String(), text)
		}
	}
	if err := bounded.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Error(err)
	}
	// It fails, since it was ended.
	_ = bounded.Wait()
	if !found {
		t.Fatalf("the machine printed none of %q:\n%s\n%s", until, printed, &stderr)
	}
	return printed.String()
}

// bootable is the example of that name, built once, and the directory of its configuration.
var bootable = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(sharedDir, "bootable")
	if err := copyExample("bootable", dir); err != nil {
		return "", err
	}
	return dir, buildAll(dir)
})

// buildAll makes keys and builds what a directory configures.
func buildAll(dir string) error {
	for _, args := range [][]string{{"genkey"}, {"--force", "--seed", testSeed, "--source-date-epoch", testEpoch}} {
		if out, err := mkosi(dir, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("mkosi %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func bootableDir(t *testing.T) string {
	t.Helper()
	dir, err := bootable()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// The example's own tests say that Secure Boot is on, with keys that the first boot enrolled, and that a sealed secret is
// released. What the TPM measured in every phase is compared here with what is predicted for the unified kernel image.
func testBootable(t *testing.T) {
	dir := bootableDir(t)
	script := "#!/bin/sh\nset -eu\n"
	for _, bank := range pcr.Banks() {
		value := predict(t, filepath.Join(dir, "mkosi.output/bootable.efi"), bank, "enter-initrd:leave-initrd:sysinit:ready")
		file := "/sys/class/tpm/tpm0/pcr-" + bank.Name + "/11"
		script += fmt.Sprintf("if [ -e %s ]; then cat %[1]s; [ \"$(tr A-F a-f < %[1]s)\" = %x ]; measured=yes; fi\n", file, value)
	}
	// The value at the end is that of a chain of hashes: it is only right if it was right after each phase.
	writeFile(t, filepath.Join(dir, "mkosi.test/25-pcr11"), []byte(script+"[ $measured = yes ]\n"), 0o755)
	// The other boots use the newer firmware, so that each run sees both take the keys.
	report, _ := testImage(t, withTools(bookwormMachine(t), dir, "--json", "test"))
	hasTests(t, report, "10-units", "20-secure-boot", "25-pcr11", "30-sealed-secret")
	console := string(readFile(t, report.ConsoleLog))
	if text := "bootable login: root (automatic login)"; !strings.Contains(console, text) {
		t.Errorf("the console lacks %q:\n%s", text, console)
	}
	if len(readFile(t, report.Journal)) == 0 {
		t.Error("the journal is empty")
	}
}

// predict returns what a register of the TPM holds once the main profile of a unified kernel image has gone through phases.
func predict(t *testing.T, path string, bank pcr.Bank, phases string) []byte {
	t.Helper()
	b := readFile(t, path)
	f, err := pe.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	image := pcr.Image{}
	for _, s := range f.Sections {
		if !pcr.Measured(s.Name) {
			continue
		}
		h := pcr.NewHasher([]pcr.Bank{bank})
		if _, err := h.Write(b[s.Offset:][:s.Used()]); err != nil {
			t.Fatal(err)
		}
		image[s.Name] = h.Digests()
	}
	value, err := image.Value(bank, phases)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// bookwormMachine is the machine root with the firmware of Debian bookworm, for as long as the test runs. That firmware is
// stricter about the form of the variables that enrol keys. It does not print to a virtio console.
func bookwormMachine(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must(t, mkosi(dir, "--distribution=debian", "--release=bookworm", "--format=directory", "--output=firmware", "--package=ovmf", "--bootable=no"))
	root := filepath.Join(dir, "root")
	must(t, exec.Command("mount", "-t", "overlay", "overlay", "-o",
		fmt.Sprintf("lowerdir=%s,upperdir=%[2]s/upper,workdir=%[2]s/work", machineRoot(), dir), root))
	t.Cleanup(func() { must(t, exec.Command("umount", root)) })
	for _, name := range []string{"usr/share/OVMF", "usr/share/ovmf", "usr/share/qemu/firmware"} {
		must(t, exec.Command("rm", "-r", filepath.Join(root, name)))
		must(t, exec.Command("cp", "-a", filepath.Join(dir, "firmware", name), filepath.Join(root, name)))
	}
	return root
}

// A unified kernel image that differs in one bit from what was signed is not started.
func testFlippedBit(t *testing.T) {
	from, dir := bootableDir(t), filepath.Join(sharedDir, "flipped")
	if err := copyExample("bootable", dir); err != nil {
		t.Fatal(err)
	}
	must(t, exec.Command("cp", "--archive", "--sparse=always", filepath.Join(from, "mkosi.output"), dir+"/"))
	disk := filepath.Join(dir, "mkosi.output/bootable.raw")
	program := readFile(t, filepath.Join(from, "mkosi.output/bootable.efi"))
	flipBit(t, disk, inESP(t, disk, program[len(program)/2&^4095:][:4096])+17)

	refused := []string{"Access denied", "Security violation", "Security Violation"}
	started := []string{"EFI stub:", "Linux version", "systemd["}
	printed := watchMachine(t, onMachine(dir, "--console=read-only", "--ephemeral=yes", "vm"), append(refused, started...)...)
	if !slices.ContainsFunc(refused, func(text string) bool { return strings.HasSuffix(printed, text) }) {
		t.Errorf("the kernel was started:\n%s", printed)
	}
	if !strings.Contains(printed, "Enrolling secure boot keys") {
		t.Errorf("no keys were enrolled:\n%s", printed)
	}
}

// inESP returns where in a disk its EFI system partition first has this content, which begins a block.
func inESP(t *testing.T, path string, content []byte) int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const start, size = 1 << 20, 512 << 20
	block := make([]byte, len(content))
	for at := int64(start); at < start+size; at += int64(len(block)) {
		if _, err := f.ReadAt(block, at); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(block, content) {
			return at
		}
	}
	t.Fatal("the partition does not have what was to be changed")
	return 0
}

// The example's own tests say that the tutorial's extension is merged where a signature is demanded. One that is signed
// with another key is refused, and it is the key for which it is.
func testSysextIntegration(t *testing.T) {
	dir := filepath.Join(sharedDir, "sysext-integration")
	if err := copyExample("sysext-integration", dir); err != nil {
		t.Fatal(err)
	}
	if err := buildAll(dir); err != nil {
		t.Fatal(err)
	}
	stranger := filepath.Join(sharedDir, "stranger")
	writeTree(t, stranger, map[string]string{"mkosi.conf": `[Distribution]
Distribution=debian
Release=trixie

[Output]
Format=sysext
Output=stranger
Overlay=yes

[Content]
BaseTrees=` + dir + `/mkosi.output/base
Packages=less

[Validation]
Verity=signed
`})
	if err := buildAll(stranger); err != nil {
		t.Fatal(err)
	}
	tests := filepath.Join(dir, "mkosi.test")
	for from, to := range map[string]string{"stranger.raw": "stranger.raw", "mkosi.crt": "stranger.crt"} {
		writeFile(t, filepath.Join(tests, to), readFile(t, filepath.Join(stranger, from)), 0o644)
	}
	writeFile(t, filepath.Join(tests, "40-stranger"), []byte(`#!/bin/sh
set -eu
systemd-sysext unmerge
cp stranger.raw /var/lib/extensions
if systemd-sysext merge --image-policy=root=signed || command -v less || command -v btrfs; then
    exit 1
fi
mkdir -p /run/verity.d
cp stranger.crt /run/verity.d
systemd-sysext merge --image-policy=root=signed
less --version
btrfs --version
`), 0o755)
	report, _ := testImage(t, onMachine(dir, "--json", "test"))
	hasTests(t, report, "10-merged", "20-again", "40-stranger")
}
