package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/config"
)

func TestCredentials(t *testing.T) {
	s := newScene(t)
	file, program, zone := filepath.Join(s.dir, "file"), filepath.Join(s.dir, "program"), filepath.Join(s.dir, "localtime")
	s.write(file, []byte("from the file\n"), 0o600)
	s.write(program, []byte("#!/bin/sh\necho from the program\n"), 0o700)
	s.opts.Host.Environment = map[string]string{"LANG": "de_DE.UTF-8"}
	s.img.Credentials = []config.Credential{{Name: "value", Value: "v"}, {Name: "file", Path: file}, {Name: "program", Path: program}, {Name: "firstboot.timezone", Value: "UTC"}}
	want := map[string]string{"value": "v", "file": "from the file\n", "program": "from the program\n", "firstboot.timezone": "UTC", "firstboot.locale": "de_DE.UTF-8"}
	if diff := cmp.Diff(want, s.plan().credentials); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct{ target, want string }{{"/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"}, {"../usr/share/zoneinfo/UTC", "UTC"}, {"/elsewhere", ""}} {
		if err := os.Symlink(tt.target, zone); err != nil {
			t.Fatal(err)
		}
		if got := timezone(zone); got != tt.want {
			t.Errorf("a link to %s: got %q, want %q", tt.target, got, tt.want)
		}
		if err := os.Remove(zone); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSharesAreMountedByTheGuest(t *testing.T) {
	s := newScene(t)
	s.img.RuntimeTrees = []config.Tree{{Source: s.dir, Target: "/a b"}, {Source: s.dir}}
	s.img.Credentials = []config.Credential{{Name: "fstab.extra", Value: "/dev/x /x ext4\n"}}
	want := `/a\040b /a\040b virtiofs x-initrd.mount` + "\n/root/src /root/src virtiofs x-initrd.mount\n/dev/x /x ext4\n"
	if got := s.plan().credentials["fstab.extra"]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJournalIsWrittenWhereItIsWanted(t *testing.T) {
	for name, setting := range map[string]string{"a file": "own.journal", "a directory": "dir"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.stage(`eval "echo an entry >&$port"`)
			s.write(filepath.Join(s.img.ExtraSearchPaths[0], "systemd-journal-remote"), []byte("#!/bin/sh\nfor o; do case $o in --output=*) exec cat > \"${o#*=}\" ;; esac; done\n"), 0o755)
			s.img.ForwardJournal = filepath.Join(s.dir, "journals", setting)
			if _, err := s.plan().Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			file := s.img.ForwardJournal
			if !strings.HasSuffix(file, ".journal") {
				file += "/remote.journal"
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != "an entry\n" {
				t.Errorf("%s has %q, error %v", file, got, err)
			}
		})
	}
}
