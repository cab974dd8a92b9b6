package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

func TestWriteSSHUnits(t *testing.T) {
	const sshd, generator = "usr/sbin/sshd", "usr/lib/systemd/system-generators/systemd-ssh-generator"
	for _, test := range []struct {
		ssh   config.Ssh
		files []string
		want  bool
	}{
		{config.SshAlways, nil, true},
		{config.SshAlways, []string{sshd, generator}, true},
		{config.SshAuto, []string{sshd}, true},
		{config.SshAuto, []string{sshd, generator}, false},
		{config.SshAuto, nil, false},
		{config.SshRuntime, []string{sshd}, false},
		{config.SshNever, []string{sshd}, false},
	} {
		files := map[string]string{"usr/lib/os-release": ""}
		for _, name := range test.files {
			files[name] = "program"
		}
		root, dir := newTree(t, files)
		for _, name := range test.files {
			if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		m := &image{Image: &config.Image{Ssh: test.ssh}}
		if err := m.writeSSHUnits(root); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"system/ssh.socket", "system/ssh@.service", "system-preset/80-mkosi-ssh.preset"} {
			if exists(root, "usr/lib/systemd/"+name) != test.want {
				t.Errorf("Ssh=%s with %v: %s is there: %v", test.ssh, test.files, name, !test.want)
			}
		}
	}
}

// What systemd would start in a file that cannot be started is nothing.
func TestNoSSHWithoutProgram(t *testing.T) {
	root, _ := newTree(t, map[string]string{"usr/sbin/sshd": "not executable"})
	m := &image{Image: &config.Image{Ssh: config.SshAuto}}
	if err := m.writeSSHUnits(root); err != nil || exists(root, "usr/lib/systemd") {
		t.Errorf("units were written, %v", err)
	}
}

func TestWriteAutologin(t *testing.T) {
	root, _ := newTree(t, map[string]string{"usr/lib/os-release": ""})
	m := &image{Image: &config.Image{}}
	if err := m.writeAutologin(root); err != nil || exists(root, systemUnits) {
		t.Errorf("without Autologin=: %v", err)
	}
	m.Autologin = true
	if err := m.writeAutologin(root); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"getty@tty1", "serial-getty@hvc0", "console-getty"} {
		text := content(t, root, "usr/lib/systemd/system/"+service+".service.d/autologin.conf")
		// The first, empty one takes away what the unit starts by itself.
		if !strings.HasPrefix(text, "[Service]\nExecStart=\nExecStart=-agetty ") || !strings.Contains(text, "--autologin root ") {
			t.Errorf("%s: %s", service, text)
		}
	}
}
