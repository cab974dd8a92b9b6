package cache

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// TestHostileEntry puts things in an entry's place that must not be used: they are a miss, and making the entry
// replaces them without touching what they point to.
func TestHostileEntry(t *testing.T) {
	in := packages("vim")
	outside := storeDir(t)
	write(t, filepath.Join(outside, "tree/file"), "precious")
	info, err := json.Marshal(entryInfo{Format: Format, Key: in.Key(), ID: "id"})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(outside, infoName), info, 0o600))
	for name, put := range map[string]func(path string) error{
		"link":          func(path string) error { return os.Symlink(outside, path) },
		"dangling link": func(path string) error { return os.Symlink("nowhere", path) },
		"file":          func(path string) error { return os.WriteFile(path, info, 0o600) },
		"pipe":          func(path string) error { return unix.Mkfifo(path, 0o600) },
		"empty":         func(path string) error { return os.Mkdir(path, 0o700) },
		"linked info": func(path string) error {
			must(t, os.Mkdir(path, 0o700))
			return os.Symlink(filepath.Join(outside, infoName), filepath.Join(path, infoName))
		},
		"piped info": func(path string) error {
			must(t, os.Mkdir(path, 0o700))
			return unix.Mkfifo(filepath.Join(path, infoName), 0o600)
		},
		"writable by others": func(path string) error {
			write(t, filepath.Join(path, infoName), string(info))
			return os.Chmod(path, 0o777)
		},
		"other inputs": func(path string) error {
			write(t, filepath.Join(path, infoName), strings.Replace(string(info), in.Key()[16:], strings.Repeat("0", 48), 1))
			return os.Chmod(path, 0o700)
		},
		"other format": func(path string) error {
			write(t, filepath.Join(path, infoName), strings.Replace(string(info), `"format":1`, `"format":2`, 1))
			return os.Chmod(path, 0o700)
		},
		"garbage": func(path string) error {
			write(t, filepath.Join(path, infoName), "[[[")
			return os.Chmod(path, 0o700)
		},
		"huge": func(path string) error {
			write(t, filepath.Join(path, infoName), string(info)+strings.Repeat(" ", maxInfo))
			return os.Chmod(path, 0o700)
		},
	} {
		s := &Store{Dir: storeDir(t)}
		must(t, os.Mkdir(s.dirOf("debian"), 0o755))
		must(t, put(s.pathOf("debian", in.Key())))
		if found(t, s, "debian", in) {
			t.Errorf("%s: it is used", name)
		}
		add(t, s, "debian", in, "good")
		if !found(t, s, "debian", in) {
			t.Errorf("%s: it was not replaced", name)
		}
		if left, _ := filepath.Glob(filepath.Join(s.dirOf("debian"), "*")); len(left) != 1 {
			t.Errorf("%s: left %q", name, left)
		}
	}
	if diff := cmp.Diff([]string{infoName, "tree", "tree/file"}, files(t, outside)); diff != "" {
		t.Errorf("what is outside has changed: %s", diff)
	}
}

// TestHostileDir tells that a link in the place of a name's directory is refused, and not followed by removing either.
func TestHostileDir(t *testing.T) {
	outside := storeDir(t)
	s := &Store{Dir: outside}
	add(t, s, "debian", packages("vim"), "precious")
	before := files(t, outside)
	s = &Store{Dir: storeDir(t), MaxUse: 1}
	must(t, os.Symlink(filepath.Join(outside, "debian.cache"), s.dirOf("debian")))
	const want = "is not a directory"
	if _, _, err := s.Lookup(t.Context(), "debian", packages("vim")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := s.Find(t.Context(), "debian", packages("vim")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Find: %v", err)
	}
	if _, _, err := s.Begin(t.Context(), "debian", packages("nano")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Begin: %v", err)
	}
	if err := s.Remove(t.Context(), "debian"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Remove: %v", err)
	}
	must(t, s.RemoveAll(t.Context()))
	must(t, s.Trim(t.Context()))
	if diff := cmp.Diff(before, files(t, outside)); diff != "" {
		t.Errorf("what is outside has changed: %s", diff)
	}
}

// TestBroken tells that entries that nobody finds any more make room, and that inputs that cannot be read are told.
func TestBroken(t *testing.T) {
	s := &Store{Dir: storeDir(t), MaxUse: 1 << 40}
	path := add(t, s, "debian", packages("vim"), "")
	write(t, filepath.Join(path, inputsName), "garbage")
	miss, err := s.Find(t.Context(), "debian", packages("nano"))
	must(t, err)
	if got := reason(miss); !strings.Contains(got, "no readable inputs: inputs.json") {
		t.Errorf("missed with %q", got)
	}
	write(t, filepath.Join(path, infoName), "garbage")
	must(t, s.Trim(t.Context()))
	if diff := cmp.Diff([]string{"debian.cache"}, files(t, s.Dir)); diff != "" {
		t.Error(diff)
	}
}

// FuzzEntry reads an entry whose files hold anything.
func FuzzEntry(f *testing.F) {
	in := packages("vim")
	inputs, err := json.Marshal(in)
	must(f, err)
	f.Add([]byte(`{"format":1,"key":"`+in.Key()+`","id":"x","size":1}`), inputs)
	f.Add([]byte(`{"format":1,"size":-1}`), []byte(`[{"name":"a","files":["1 b"],"digest":"c"}]`))
	s := &Store{Dir: fuzztest.MemoryDir(f)}
	path := s.pathOf("debian", in.Key())
	must(f, os.MkdirAll(path, 0o700))
	f.Fuzz(func(t *testing.T, info, inputs []byte) {
		must(t, os.WriteFile(filepath.Join(path, infoName), info, 0o600))
		must(t, os.WriteFile(filepath.Join(path, inputsName), inputs, 0o600))
		fuzztest.Bound{Base: 8 << 20, PerByte: 1000}.Check(t, len(info)+len(inputs), func() {
			for _, words := range []string{"vim", "nano"} {
				if _, err := s.Find(t.Context(), "debian", packages(words)); err != nil {
					t.Fatal(err)
				}
			}
			if size, err := s.Size(t.Context()); err != nil || size < 0 {
				t.Fatal(size, err)
			}
		})
	})
}
