//go:build integration

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// freshMachine is the root of a Debian machine with nothing on it but apt, e2fsprogs and what these need. It gets its
// packages where this machine does, as every new Debian has them set up: updates and security included.
var freshMachine = sync.OnceValues(func() (string, error) {
	root := filepath.Join(sharedDir, "fresh")
	mirror, err := hostMirror()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("mmdebstrap", "--quiet", "--variant=apt", "--include=e2fsprogs,ca-certificates", "trixie", root, mirror)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("making a fresh machine: %w\n%s", err, out)
	}
	host, err := distro.HostSources("/")
	if err != nil {
		return "", err
	}
	debian, err := distro.Lookup("debian")
	if err != nil {
		return "", err
	}
	sources, err := debian.Sources(&distro.Request{Release: "trixie", Architecture: "x86-64", Host: host})
	if err != nil {
		return "", err
	}
	apt := filepath.Join(root, "etc/apt")
	if err := os.Remove(filepath.Join(apt, "sources.list")); err != nil {
		return "", err
	}
	return root, os.WriteFile(filepath.Join(apt, "sources.list.d/debian.sources"), distro.Format(sources), 0o644)
})

// onFreshMachine is the command that runs a program on the fresh machine, which shares a directory and the program
// under test with this one. Of the machine's own files, hidden ones are missing.
func onFreshMachine(t *testing.T, dir string, hidden []string, args ...string) *exec.Cmd {
	t.Helper()
	root, err := freshMachine()
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"--share", filepath.Dir(binary), "--share", dir}
	for _, file := range hidden {
		all = append(all, "--hide", file)
	}
	return exec.Command(filepath.Join(project, "test/machine"), append(append(all, root), args...)...)
}

// asOrdinaryUser makes a command line one of a user that exists nowhere, with the home directory given.
func asOrdinaryUser(home string, args ...string) []string {
	id := fmt.Sprint(ordinaryUser)
	return append([]string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "env", "HOME=" + home}, args...)
}

// freshTutorial is a directory with the tutorial that builds to the same bytes as the one of tutorialDir, in
// "tutorial", and a package cache that saves downloads, in "packages".
func freshTutorial(t *testing.T) string {
	t.Helper()
	built := tutorialDir(t)
	dir, err := os.MkdirTemp(sharedDir, "machine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := copyExample("sysext", filepath.Join(dir, "tutorial")); err != nil {
		t.Fatal(err)
	}
	if err := seedImages(filepath.Join(dir, "tutorial")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "packages"), os.DirFS(filepath.Join(sharedDir, "packages"))); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"mkosi.key", "mkosi.crt"} {
		if err := os.Chmod(copyInto(t, filepath.Join(dir, "tutorial"), filepath.Join(built, key)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tutorialCommands are what examples/sysext/build runs.
func tutorialCommands(dir string) [][]string {
	program := []string{binary, "-C", filepath.Join(dir, "tutorial"), "--package-cache-directory", filepath.Join(dir, "packages"), "--source-date-epoch", testEpoch}
	return [][]string{
		append(program[:len(program):len(program)], "genkey", "--force"),
		append(program[:len(program):len(program)], "--force"),
		append(program[:len(program):len(program)], "--profile", "initrd"),
	}
}

// tutorialOutputs are the names of the tutorial's outputs.
var tutorialOutputs = []string{"base", "btrfs", "btrfs.raw", "image", "image.raw", "initrd", "initrd.cpio.zst"}

// A Debian machine that has nothing but apt and e2fsprogs builds the tutorial, and to the same bytes as this one: what
// a build makes does not depend on the machine.
func TestFreshMachine(t *testing.T) {
	dir, here := freshTutorial(t), tutorialDir(t)
	nothingLeft := leavesNothing(t)
	for _, args := range tutorialCommands(dir)[1:] {
		must(t, onFreshMachine(t, dir, nil, args...))
	}
	nothingLeft()
	there := filepath.Join(dir, "tutorial")
	if diff := cmp.Diff(tutorialOutputs, names(t, filepath.Join(there, "mkosi.output"))); diff != "" {
		t.Error(diff)
	}
	diffs, err := tree.Compare(t.Context(), filepath.Join(here, "mkosi.output"), filepath.Join(there, "mkosi.output"), tree.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		// The outputs themselves are files of today; what is in them is what counts.
		if d.What == "mtime" && !strings.Contains(d.Path, "/") && d.Path != "base" {
			continue
		}
		t.Errorf("%s: %s: %s here, %s on the fresh machine", d.Path, d.What, d.A, d.B)
	}
}

// A user of such a machine makes keys and builds the tutorial without root, and without subordinate IDs.
func TestFreshMachineOrdinaryUser(t *testing.T) {
	dir, here := freshTutorial(t), tutorialDir(t)
	giveAway(t, dir)
	nothingLeft := leavesNothing(t)
	for _, args := range tutorialCommands(dir) {
		must(t, onFreshMachine(t, dir, nil, asOrdinaryUser(dir, args...)...))
	}
	nothingLeft()
	there := filepath.Join(dir, "tutorial")
	if diff := cmp.Diff(tutorialOutputs, names(t, filepath.Join(there, "mkosi.output"))); diff != "" {
		t.Error(diff)
	}
	if fi, err := os.Stat(filepath.Join(there, "mkosi.key")); err != nil || fi.Mode() != 0o600 || fi.Sys().(*syscall.Stat_t).Uid != ordinaryUser {
		t.Errorf("the key: %v, %v", fi, err)
	}
	diffs, err := tree.Compare(t.Context(), filepath.Join(here, "mkosi.output/base"), filepath.Join(there, "mkosi.output/base"),
		tree.CompareOptions{IgnoreOwners: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		switch d.Path {
		case "usr/lib/verity.d/mkosi.crt":
			continue // the certificate of other keys
		case "var/log/journal":
			if d.What == "xattr" {
				continue // its access list names a group, and here there is but one user
			}
		}
		t.Errorf("%s: %s: %s as root, %s as an ordinary user", d.Path, d.What, d.A, d.B)
	}
	checkSignedBy(t, filepath.Join(there, "mkosi.output/btrfs.raw"), filepath.Join(there, "mkosi.crt"))
}

// What a machine lacks is said before anything is done, with the package to install.
func TestMissingPrograms(t *testing.T) {
	for name, tt := range map[string]struct {
		hidden string
		conf   string
		wants  []string
	}{
		"mke2fs":  {"/usr/sbin/mke2fs", "[Output]\nFormat=disk\n", []string{"Format=ext4 needs mke2fs", "hint: install the package e2fsprogs"}},
		"apt-get": {"/usr/bin/apt-get", "[Output]\nFormat=directory\n", []string{"needs apt-get", "hint: install the package apt"}},
		"dpkg":    {"/usr/bin/dpkg", "[Output]\nFormat=directory\n", []string{"needs dpkg", "hint: install the package dpkg"}},
	} {
		t.Run(name, func(t *testing.T) {
			nothingLeft := leavesNothing(t)
			dir := newProject(t, map[string]string{
				"mkosi.conf": "[Distribution]\nDistribution=debian\nRelease=trixie\n[Output]\nOutput=image\nOutputDirectory=mkosi.output\n" + tt.conf,
			})
			untouched := previous(t, dir, "image")
			oneMessage(t, run(t, onFreshMachine(t, dir, []string{tt.hidden}, binary, "-C", dir, "--force")), exitFailed, tt.wants...)
			untouched()
			nothingLeft()
		})
	}
}

// A machine that gives ordinary users no user namespaces: the message names the setting to change.
func TestForbiddenUserNamespaces(t *testing.T) {
	nothingLeft := leavesNothing(t)
	dir := newProject(t, map[string]string{"mkosi.conf": debianDirectory})
	giveAway(t, dir)
	untouched := previous(t, dir, "image")
	// The limit is one of the user namespace in which it is set, so that this machine keeps its own.
	forbid := []string{"sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"`, "sh"}
	cmd := onFreshMachine(t, dir, nil, append(forbid, asOrdinaryUser(dir, binary, "-C", dir, "--force")...)...)
	everybody := []syscall.SysProcIDMap{{Size: 1 << 16}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: everybody, GidMappings: everybody, GidMappingsEnableSetgroups: true,
	}
	oneMessage(t, run(t, cmd), exitFailed, "forbids user namespaces", "sysctl -w user.max_user_namespaces=", "hint: mkosi needs user namespaces")
	untouched()
	nothingLeft()
}

// checkSignedBy checks that an extension's root hash is signed with the key of a certificate.
func checkSignedBy(t *testing.T, image, certificate string) {
	t.Helper()
	work := t.TempDir()
	file := filepath.Join(work, "signature")
	extract(t, image, partitions(t, image)[2], file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var sig struct{ RootHash, Signature string }
	if err := json.Unmarshal(bytes.TrimRight(b, "\x00"), &sig); err != nil {
		t.Fatal(err)
	}
	checkSignature(t, work, sig.Signature, sig.RootHash, certificate)
}
