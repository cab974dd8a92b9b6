package suite

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/machine/agent"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "20-run"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(dir, "10-unit.service"), "[Service]\n", 0o644)
	write(t, filepath.Join(dir, "data"), "x", 0o600)
	write(t, filepath.Join(dir, ".hidden"), "x", 0o755)
	if err := os.Symlink("20-run", filepath.Join(dir, "30-again")); err != nil {
		t.Fatal(err)
	}
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range s.Files {
		got = append(got, fmt.Sprintf("%s %o unit=%v test=%v %d", f.Name, f.Mode, f.IsUnit(), f.IsTest(), len(f.Data)))
	}
	want := []string{"10-unit.service 644 unit=true test=true 10", "20-run 755 unit=false test=true 10", "30-again 755 unit=false test=true 10",
		"data 600 unit=false test=false 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	for want, prepare := range map[string]func(dir string) error{
		"has no tests":            func(dir string) error { return os.WriteFile(filepath.Join(dir, "data"), nil, 0o644) },
		"cannot be the name":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "a b"), nil, 0o755) },
		"only regular files":      func(dir string) error { return os.Mkdir(filepath.Join(dir, "sub"), 0o755) },
		"only regular files can ": func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o755) },
		"escapes":                 func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "link")) },
		"more than 67108864":      func(dir string) error { return sparse(filepath.Join(dir, "big"), agent.MaxFile+1) },
	} {
		dir := t.TempDir()
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func sparse(path string, size int64) error {
	return errors.Join(os.WriteFile(path, nil, 0o755), os.Truncate(path, size))
}

func TestCommand(t *testing.T) {
	s := Command([]string{"echo", "it's", "$HOME\n"})
	if got, want := string(s.Files[0].Data), "#!/bin/sh\ncd\nexec 'echo' 'it'\\''s' '$HOME\n'\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// guest answers requests: files are taken, and what is run ends as the table says, after writing its name.
func guest(t *testing.T, exits map[string]string) *agent.Client {
	t.Helper()
	control, c := net.Pipe()
	output, o := net.Pipe()
	errs, e := net.Pipe()
	client := agent.New(agent.Ports{Control: c, Output: o, Error: e}, rand.Reader)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, port := range []net.Conn{control, output, errs} {
			defer port.Close()
		}
		requests := bufio.NewReader(control)
		for {
			var verb, name, last string
			var number int64
			if _, err := fmt.Fscanf(requests, "%s %s %d %s\n", &verb, &name, &number, &last); err != nil {
				return
			}
			if verb == "file" {
				if _, err := io.CopyN(io.Discard, requests, number); err != nil {
					return
				}
				fmt.Fprintln(control, "exit 0")
				continue
			}
			exit, ok := exits[name]
			if !ok {
				return
			}
			fmt.Fprintf(output, "%s for %ds\n%s", verb, number, last)
			io.WriteString(errs, last)
			fmt.Fprintln(control, "exit "+exit)
		}
	}()
	t.Cleanup(func() {
		client.Close()
		<-done
	})
	return client
}

func TestRun(t *testing.T) {
	exits := map[string]string{"a": "0", "b": "1", "c": "124", "d": "137", "e.service": "0", "f.service": "5 exit-code",
		"g.service": "1 condition", "h.service": "1 unloadable", "i.service": "124 timeout", "j.service": "1 signal"}
	want := []Result{
		{Name: "a", Passed: true},
		{Name: "b", Status: 1, Reason: "exit status 1"},
		{Name: "c", Status: 124, Reason: "not done after 1m0s"},
		{Name: "d", Status: 137, Reason: "killed by signal 9"},
		{Name: "e.service", Passed: true},
		{Name: "f.service", Status: 5, Reason: "exit status 5"},
		{Name: "g.service", Status: 1, Reason: "a condition of the unit does not hold, so it was not started"},
		{Name: "h.service", Status: 1, Reason: "systemd cannot read the unit"},
		{Name: "i.service", Status: 124, Reason: "not done after 1m0s"},
		{Name: "j.service", Status: 1, Reason: "signal"},
		{Name: "lost", Reason: agent.ErrLost.Error()},
	}
	s := &Suite{Files: []File{{Name: "data", Mode: 0o644}}}
	for i := range want {
		want[i].Seconds = 2
		s.Files = append(s.Files, File{Name: want[i].Name, Mode: 0o755})
	}
	s.Files = append(s.Files, File{Name: "never", Mode: 0o755})
	var out bytes.Buffer
	var ended []Result
	clock := time.Unix(0, 0)
	got, err := s.Run(t.Context(), guest(t, exits), time.Minute, Observer{
		Begin: func(string) (io.Writer, io.Writer, func(Result)) {
			return &out, &out, func(r Result) { ended = append(ended, r) }
		},
		Now: func() time.Time { clock = clock.Add(2 * time.Second); return clock },
	})
	if !errors.Is(err, agent.ErrLost) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, ended); diff != "" {
		t.Error("told:", diff)
	}
	if text := out.String(); !strings.HasPrefix(text, "run for 60s\nrun for 60s\n") || strings.Count(text, "unit for 60s\n") != 6 {
		t.Errorf("got %q", text)
	}
}
