package script

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listen makes a socket and returns its path.
func listen(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mkosi-script-") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return path
}

func TestParseCommands(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":{"args":["b"]},"c":{"chroot":true}}`: "",
		`{"a/b":{"args":["b"]}}`:                   "is not the name",
		`{"":{"args":["b"]}}`:                      "is not the name",
		`{"a":{}}`:                                 "stands for nothing",
		`{"a":{"args":["b"],"x":1}}`:               "unknown field",
		`{} {}`:                                    "more after its end",
		`[`:                                        "unexpected EOF",
		`{"a":{"args":["` + strings.Repeat("b", maxSpec): "more than",
	} {
		_, err := parseCommands([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %q", text, err, want)
		}
	}
}

// FuzzParseCommands makes sure that what is taken means the same when it is written again.
func FuzzParseCommands(f *testing.F) {
	f.Add([]byte(`{"apt":{"args":["apt","-o","A=b"],"env":["X=y"],"image":true,"lock":"/l"},"mkosi-chroot":{"chroot":true,"network":true}}`))
	f.Add([]byte(`{"a":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		commands, err := parseCommands(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(commands)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxSpec {
			return
		}
		got, err := parseCommands(again)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range got {
			if len(c.Args) == 0 && !c.Chroot || strings.Contains(name, "/") {
				t.Errorf("%q: %+v", name, c)
			}
		}
		if len(got) != len(commands) {
			t.Errorf("%d commands became %d", len(commands), len(got))
		}
	})
}

func TestChrootEnvironment(t *testing.T) {
	got := chrootEnvironment([]string{"A=1", "PATH=/x", "SRCDIR=/src", "CHROOT_SRCDIR=/src", "HOME=/h"})
	want := []string{"A=1", "SRCDIR=/src", "CHROOT_SRCDIR=/src", "BUILDROOT=/", "HOME=/", "PATH=/usr/bin:/usr/sbin", "container=mkosi"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSuppressesChown(t *testing.T) {
	for value, want := range map[string]bool{"1": true, "Yes": true, "true": true, "on": true, "0": false, "": false, "no": false} {
		if got := suppressesChown([]string{"A=1", "MKOSI_CHROOT_SUPPRESS_CHOWN=" + value}); got != want {
			t.Errorf("%q: got %t", value, got)
		}
	}
	if suppressesChown(nil) {
		t.Error("chown does nothing though nobody asked for that")
	}
}
