package running

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnterAndFind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mkosi")
	for _, name := range []string{"web", "../a b/.", ""} {
		m := Machine{Name: name, Image: "/x/image.raw", CID: 7, SSHPorts: []uint16{2222, 65535}}
		e, err := Enter(dir, m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Find(dir, name)
		if diff := cmp.Diff(m, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", name, err, diff)
		}
		var taken *AlreadyRunningError
		if _, err := Enter(dir, m); !errors.As(err, &taken) || taken.Name != name {
			t.Errorf("%q: entered twice: %v", name, err)
		}
		m.CID = 0
		if err := e.Update(m); err != nil {
			t.Fatal(err)
		}
		if got, err := Find(dir, name); err != nil || got.CID != 0 {
			t.Errorf("%q: after an update: %v, %v", name, got, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Find(dir, name); !errors.As(err, new(*NotRunningError)) {
			t.Errorf("%q: found after its end: %v", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A machine whose process was killed leaves its file, without the lock.
func TestDeadMachineIsNotFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mkosi")
	e, err := Enter(dir, Machine{Name: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.file.Close(); err != nil {
		t.Fatal(err)
	}
	live, err := Enter(dir, Machine{Name: "live"})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	var missing *NotRunningError
	if _, err := Find(dir, "dead"); !errors.As(err, &missing) || !strings.HasSuffix(missing.Hint(), ": live") {
		t.Errorf("got %v", err)
	}
	again, err := Enter(dir, Machine{Name: "dead"})
	if err != nil {
		t.Fatal("its name cannot be used again:", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestEnterRefusesSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Enter(dir, Machine{Name: "m"}); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("got %v", err)
	}
}

func TestFindSaysWhatIsWrong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mkosi")
	e, err := Enter(dir, Machine{Name: "m"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.file.Truncate(3); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir, "m"); err == nil || !strings.Contains(err.Error(), "being started") {
		t.Errorf("got %v", err)
	}
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		uid       int
		env, want string
	}{
		{0, "", "/run/mkosi"},
		{0, dir, "/run/mkosi"}, // as sudo -E leaves it
		{4000000, dir, filepath.Join(dir, "mkosi")},
		{4000000, filepath.Join(dir, "stale"), ""},
		{4000000, "relative", ""},
	} {
		got, err := Dir(tt.uid, map[string]string{"XDG_RUNTIME_DIR": tt.env})
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%+v: got %q, %v", tt, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"Name":"a","CID":3,"SSHPorts":[1]}`))
	f.Add([]byte(`{"SSHPorts":[70000]}`))
	dir := filepath.Join(f.TempDir(), "mkosi")
	e, err := Enter(dir, Machine{Name: "m"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := errors.Join(e.file.Truncate(0), write(e.file, data)); err != nil {
			t.Fatal(err)
		}
		if m, err := Find(dir, "m"); err != nil && m.Name != "" {
			t.Errorf("both %v and %v", m, err)
		}
	})
}

func write(f *os.File, data []byte) error {
	_, err := f.WriteAt(data, 0)
	return err
}
