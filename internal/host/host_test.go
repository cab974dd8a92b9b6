package host

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOSRelease(t *testing.T) {
	got := ParseOSRelease("# comment\nID=debian\nPRETTY_NAME=\"Debian \\\"x\\\" \\n\"\nVERSION_ID='12'\nnothing\n=x\nEMPTY=\n")
	want := map[string]string{"ID": "debian", "PRETTY_NAME": `Debian "x" \n`, "VERSION_ID": "12", "EMPTY": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseSystemdVersion(t *testing.T) {
	for in, want := range map[string]string{
		"systemd 252 (252.38-1~deb12u1)\n+PAM": "252",
		"systemd 259~rc1 (259~rc1)":            "259~rc1",
		"something else":                       "",
	} {
		if got := ParseSystemdVersion(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestFindIn(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write := func(path string, mode os.FileMode) {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(a, "tool"), 0o644)
	write(filepath.Join(b, "tool"), 0o755)
	got, err := FindIn("tool", []string{"relative", a, b})
	if want := filepath.Join(b, "tool"); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := FindIn("absent", []string{a, b}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if _, err := FindIn("../tool", []string{a, b}); err == nil {
		t.Error("a path was accepted")
	}
}

func TestDetect(t *testing.T) {
	f := Detect()
	if f.CPUs < 1 || f.Architecture == "" || f.Environment == nil {
		t.Errorf("facts are missing: %+v", f.Architecture)
	}
}

func TestOutput(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "script")
	for body, want := range map[string]string{"pwd": dir + "\n", "echo no >&2; exit 3": ""} {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := Output(t.Context(), script)
		if string(out) != want {
			t.Errorf("%s: got %q, want %q", body, out, want)
		}
		if want == "" && (err == nil || err.Error() != "exit status 3: no") {
			t.Errorf("%s: got error %v", body, err)
		}
	}
}

// A process that a program leaves behind has its output open for ever.
func TestOutputOfProgramWithDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "version")
	script := "#!/bin/sh\nsleep 1000 &\necho $!\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := Output(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	daemon, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil {
		t.Errorf("the process that was left behind: %v", err)
	}
}
