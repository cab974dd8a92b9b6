//go:build integration

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/disk/disktest"
)

// setCommand is the shell command that has systemd-repart do the runs of a set.
func setCommand(s *disktest.Set, dir string) string {
	var commands []string
	for i, r := range s.Runs {
		args := []string{
			"systemd-repart", "--offline=yes", "--dry-run=no", "--json=off", "--no-pager", "--seed=" + disktest.Seed,
			"--definitions=" + disktest.Definitions(dir, i), "--empty=" + []string{"create", "allow"}[min(i, 1)],
			"--private-key=" + filepath.Join(filepath.Dir(dir), "mkosi.key"), "--certificate=" + filepath.Join(filepath.Dir(dir), "mkosi.crt"),
		}
		for _, o := range r.Options {
			args = append(args, "--"+o)
		}
		commands = append(commands, strings.Join(append(args, dir+"/image"), " "))
	}
	return fmt.Sprintf("{ %s; } >%s/log 2>&1; echo $? >%s/code", strings.Join(commands, " && "), dir, dir)
}

// The tables that internal/disk is compared with are those that systemd-repart
// writes, byte for byte. With -update, what it writes is stored.
func TestRepartSets(t *testing.T) {
	sets, err := disktest.Load(filepath.Join(project, "internal/disk/testdata/repart"))
	if err != nil {
		t.Fatal(err)
	}
	// The reference cannot see what lies in /tmp, where t.TempDir is.
	dir, err := os.MkdirTemp(sharedDir, "sets-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	diskKeys(t, dir)
	var commands []string
	for _, s := range sets {
		own := filepath.Join(dir, s.Name)
		if err := os.Mkdir(own, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(own); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, setCommand(s, own))
	}
	inReference(t, dir, "true", commands)
	for _, s := range sets {
		t.Run(s.Name, func(t *testing.T) { compareSet(t, s, filepath.Join(dir, s.Name)) })
	}
}

// compareSet holds what is stored of a set against what systemd-repart did in a
// folder.
func compareSet(t *testing.T, s *disktest.Set, dir string) {
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(filepath.Join(dir, "code"))
	if err != nil {
		t.Fatal(err)
	}
	text := disktest.Fails
	if string(code) == "0\n" {
		if text, err = disktest.Describe(filepath.Join(dir, "image")); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := s.Store(text); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(text, s.Expected()); diff != "" {
		t.Errorf("systemd-repart (-) and what is stored (+):\n%s\n%s", diff, log)
	}
}
