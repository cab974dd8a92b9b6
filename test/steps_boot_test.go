//go:build integration

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// selinuxPolicy is as little of a policy as can be compiled, with two types of files.
const selinuxPolicy = `(handleunknown allow)
(mls true)
(class file (getattr))
(classorder (file))
(sid kernel)
(sidorder (kernel))
(user system_u)
(role object_r)
(type kernel_t)
(type file_t)
(type program_t)
(sensitivity s0)
(sensitivityorder (s0))
(category c0)
(categoryorder (c0))
(sensitivitycategory s0 (c0))
(level low (s0))
(levelrange range (low low))
(userrole system_u object_r)
(userlevel system_u low)
(userrange system_u range)
(roletype object_r kernel_t)
(roletype object_r file_t)
(roletype object_r program_t)
(sidcontext kernel (system_u object_r kernel_t range))
(allow kernel_t file_t (file (getattr)))
`

// writePolicy compiles the policy in a directory that is to be /etc/selinux.
func writePolicy(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "config"), []byte("SELINUX=enforcing\nSELINUXTYPE=tiny\n"), 0o644)
	writeFile(t, filepath.Join(dir, "tiny/contexts/files/file_contexts"),
		[]byte("/.*\tsystem_u:object_r:file_t:s0\n/usr/bin/.*\t--\tsystem_u:object_r:program_t:s0\n"), 0o644)
	policy := filepath.Join(dir, "tiny/policy")
	writeFile(t, filepath.Join(policy, "policy.cil"), []byte(selinuxPolicy), 0o644)
	must(t, reference(policy, "secilc", "-M", "true", "-c", "33", "-o", "policy.33", "-f", "/dev/null", "policy.cil"))
}

// copyProgram copies a program of this machine, with the libraries that it needs, into a tree.
func copyProgram(t *testing.T, program, dir string) {
	t.Helper()
	libraries := regexp.MustCompile(`/\S+`).FindAllString(must(t, exec.Command("ldd", program)), -1)
	for _, name := range append(libraries, program) {
		// /lib is a link into /usr, in which it would be in the way of the tree's own link.
		target := filepath.Join(dir, "usr", strings.TrimPrefix(name, "/usr"))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		must(t, exec.Command("cp", "--dereference", name, target))
	}
	if err := os.Symlink("usr/lib64", filepath.Join(dir, "lib64")); err != nil {
		t.Fatal(err)
	}
}

// What makes a system fit to be used is written as the reference writes it. Files are labelled by the program of this
// machine, and by that of the image.
func TestStepsBoot(t *testing.T) {
	conf := onSmall + "Ssh=always\nAutologin=yes\nSELinuxRelabel=yes\nExtraTrees=policy:/etc/selinux\n"
	words := []allowance{
		{"usr/lib/systemd/system/ssh.socket", "size", "the description is our own"},
		{"usr/lib/systemd/system/ssh@.service", "size", "description and comments are our own"},
	}
	links := []allowance{
		{"etc/systemd/system/sockets.target.wants/ssh.socket", "target", "the systemctl of Debian bookworm takes /lib for the directory of units"},
	}
	check := func(t *testing.T, theirs, ours string) {
		t.Helper()
		for _, name := range []string{"ssh.socket", "ssh@.service"} {
			sameLines(t, theirs, ours, "usr/lib/systemd/system/"+name)
		}
		checkLabel(t, ours)
	}
	s := &steps{
		universal: "[Output]\nOutputDirectory=mkosi.output\n",
		images: map[string]stepsImage{
			"boot":     {conf: conf, allowed: words, traces: links, check: check},
			"boot-own": {conf: conf + "ExtraTrees=own:/\n", allowed: words, traces: links, check: check},
		},
		setup: func(t *testing.T, dir string) {
			images := filepath.Join(dir, "mkosi.images")
			writePolicy(t, filepath.Join(images, "boot/policy"))
			writePolicy(t, filepath.Join(images, "boot-own/policy"))
			copyProgram(t, "/usr/sbin/setfiles", filepath.Join(images, "boot-own/own"))
		},
	}
	s.run(t)
}

// checkLabel looks at a label itself: two trees without any are the same too.
func checkLabel(t *testing.T, ours string) {
	t.Helper()
	label := must(t, exec.Command("getfattr", "--absolute-names", "--only-values", "-n", "security.selinux", filepath.Join(ours, "usr/bin/sh")))
	if got := strings.TrimRight(label, "\x00"); got != "system_u:object_r:program_t:s0" {
		t.Errorf("/usr/bin/sh is labelled %q", got)
	}
}
