//go:build integration

package test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarFile makes a tar file of a file, a directory and a link with odd owners and modes.
func tarFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "opt/packed/", Mode: 0o750, Uid: 12, Gid: 34},
		{Typeflag: tar.TypeReg, Name: "opt/packed/file", Mode: 0o4711, Uid: 56, Gid: 78, Size: 5},
		{Typeflag: tar.TypeSymlink, Name: "opt/packed/link", Linkname: "file", Mode: 0o777, Uid: 9, Gid: 9},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	// onBase begins the configuration of a directory over a whole Debian.
	onBase = "[Output]\nFormat=directory\n[Content]\nBaseTrees=@BASE@\n"
	// onSmall begins that of a directory over a few files, which is much faster.
	onSmall = "[Output]\nFormat=directory\n[Content]\nBaseTrees=@SMALL@\n"
)

// Everything that is written into a whole system.
func TestStepsSystem(t *testing.T) {
	t.Parallel()
	password := allowance{"etc/shadow", "content", "the reference's salt is random and its day of the change is today"}
	credential := allowance{"usr/lib/credstore/passwd.hashed-password.root", "content", "the reference's salt is random"}
	s := &steps{
		images: map[string]stepsImage{
			"plain": {conf: onBase},
			"firstboot": {
				conf: onBase + "Locale=de_DE.UTF-8\nLocaleMessages=en_US.UTF-8\nKeymap=sr-latin\nTimezone=Europe/Berlin\nHostname=box\n" +
					"RootPassword=secret\nRootShell=/bin/sh\n",
				allowed: []allowance{password, credential,
					{"etc/vconsole.conf", "size", "the reference's begins with a comment of systemd"}},
				check: func(t *testing.T, theirs, ours string) {
					sameLines(t, theirs, ours, "etc/vconsole.conf")
				},
			},
			"keymap-only": {
				conf: onSmall + "Keymap=fr-bepo\n",
				allowed: []allowance{
					{"etc/vconsole.conf", "size", "the reference's begins with a comment of systemd"}},
				check: func(t *testing.T, theirs, ours string) {
					sameLines(t, theirs, ours, "etc/vconsole.conf")
				},
			},
			"messages-only": {conf: onSmall + "LocaleMessages=C.UTF-8\n"},
			"hashed": {
				conf:    onSmall + "RootPassword=hashed:$6$salt$VcGmZ6hZzdbqhEkmSwCRPLnPyhFOcQGvfzW0J7rYZWf2lIdjxz2hKNvqxQbOp8FZOwjJe0LCHGQQAp0Bhm0Na0\n",
				allowed: []allowance{password},
			},
			"empty-password": {
				conf:    onSmall + "RootPassword=hashed:\n",
				allowed: []allowance{password},
			},
			"shell":    {conf: onSmall + "RootShell=/bin/sh\n"},
			"identity": {conf: "[Output]\nImageId=thing\nImageVersion=1.2\n" + onSmall + "Hostname=box\n", output: "identity_1.2"},
			"initrd":   {conf: onSmall + "MakeInitrd=yes\n"},
			"machineid": {
				conf: onSmall + "MachineId=0123456789abcdef0123456789abcdef\n",
				allowed: []allowance{
					{"etc/machine-id", "existence", "the reference does not apply MachineId= to base trees, which its manual does not say"}},
			},
			"skeleton": {
				conf:  onSmall + "SkeletonTrees=mkosi.skeleton,one:/srv/a/b\n",
				files: map[string]string{"one": "one\n", "mkosi.skeleton/etc/issue": "welcome\n"},
			},
			"extra": {
				conf: onBase + "ExtraTrees=one:/srv/a/b,one:/srv/dir/,one,packed.tar,odd,mkosi.extra:/opt/again\n",
				files: map[string]string{
					"one": "one\n", "packed.tar": tarFile(t), "mkosi.extra/lib/x/y": "merged\n", "mkosi.extra/bin/tool": "#!/bin/sh\n",
				},
			},
			"remove": {
				conf: onBase + "RemoveFiles=/usr/share/doc/*,/etc/os-release,/usr/lib/systemd/system/*.target,/no/such/file,/bin/bash,/usr/share/zsh/\n",
			},
		},
		setup: func(t *testing.T, dir string) {
			odd := filepath.Join(dir, "mkosi.images/extra/odd")
			for _, step := range []error{
				os.MkdirAll(filepath.Join(odd, "etc/odd"), 0o755),
				os.WriteFile(filepath.Join(odd, "etc/odd/setuid"), []byte("x"), 0o600),
				os.Chown(filepath.Join(odd, "etc/odd/setuid"), 1234, 5678),
				os.Chmod(filepath.Join(odd, "etc/odd/setuid"), 0o755|os.ModeSetuid),
				os.Chmod(filepath.Join(odd, "etc/odd"), 0o700),
				os.Lchown(filepath.Join(odd, "etc/odd"), 7, 7),
				os.Symlink("setuid", filepath.Join(odd, "etc/odd/link")),
				os.Link(filepath.Join(odd, "etc/odd/setuid"), filepath.Join(odd, "etc/odd/hard")),
			} {
				if step != nil {
					t.Fatal(step)
				}
			}
		},
		universal: "[Output]\nOutputDirectory=mkosi.output\n",
	}
	s.run(t)
}

// sameLines compares the lines of a file that are neither comments nor descriptions.
func sameLines(t *testing.T, theirs, ours, name string) {
	t.Helper()
	lines := func(dir string) string {
		var b strings.Builder
		for line := range strings.Lines(string(readFile(t, filepath.Join(dir, name)))) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "Description=") {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	if a, b := lines(theirs), lines(ours); a != b {
		t.Errorf("%s of the reference holds\n%sours\n%s", name, a, b)
	}
}
