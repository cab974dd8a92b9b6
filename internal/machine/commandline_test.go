package machine

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine/agent"
	"github.com/mkosi-go/mkosi/internal/machine/notify"
)

// direct has a machine of an architecture start a kernel without firmware.
func (s *scene) direct(a config.Architecture) {
	s.kernel()
	s.table("root")
	s.img.Architecture, s.img.Firmware = a, config.FirmwareLinux
	s.opts.Host.Environment = nil
}

// TestCredentialsOnTheCommandLine follows the way that credentials take, by their names: 28 bytes are the most that QEMU's
// firmware configuration has room for.
func TestCredentialsOnTheCommandLine(t *testing.T) {
	short, long := strings.Repeat("s", 28), strings.Repeat("l", 29)
	for name, tt := range map[string]struct {
		change func(s *scene)
		want   []string // on the command line
	}{
		"SMBIOS":                 {func(*scene) {}, nil},
		"a kernel on x86-64":     {func(s *scene) { s.direct(config.ArchX86_64) }, nil},
		"firmware on arm64":      {func(s *scene) { s.img.Architecture, s.img.Firmware = config.ArchArm64, config.FirmwareUEFI }, nil},
		"firmware configuration": {func(s *scene) { s.direct(config.ArchArm64) }, []string{long}},
		"neither of them":        {func(s *scene) { s.direct(config.ArchS390X) }, []string{long, short}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			tt.change(s)
			m := s.plan()
			m.credentials = map[string]string{short: "1", long: "2"}
			line, secret, err := m.commandLine()
			if err != nil || secret != (tt.want != nil) {
				t.Errorf("secret is %v, error %v", secret, err)
			}
			r := s.runs()
			r.m = m
			if err := r.passCredentials(); err != nil {
				t.Fatal(err)
			}
			for credential, value := range map[string]string{short: "MQ==", long: "Mg=="} {
				inFile := slices.ContainsFunc(r.credentials, func(p passed) bool { return p.name == credential })
				inLine := strings.Contains(line, "systemd.set_credential_binary="+credential+":"+value+" ")
				if wanted := slices.Contains(tt.want, credential); inLine != wanted || inFile == wanted {
					t.Errorf("%s is in a file: %v, on the command line: %v", credential, inFile, inLine)
				}
			}
		})
	}
}

// TestOwnCredentialsFit holds what mkosi itself wants in a guest against the length of kernel command lines.
func TestOwnCredentialsFit(t *testing.T) {
	sshKey := map[string]string{"ssh.authorized_keys.root": strings.Repeat("k", 740), "ssh.listen": "60022\n"} // of 4096 bits
	for _, tt := range []struct {
		architecture config.Architecture
		told, keyed  bool // what a machine without VSOCK has
		tests        bool // its tests can be run
	}{
		{config.ArchArm64, true, true, true},
		{config.ArchArm, true, true, true},
		{config.ArchPPC64LE, false, true, false},
		{config.ArchS390X, true, true, false},
	} {
		s := newScene(t)
		s.direct(tt.architecture)
		m := s.plan()
		delete(m.credentials, "firstboot.timezone") // the host's
		if err := m.Notify(&notify.Receiver{}); err != nil {
			t.Fatal(err)
		}
		m.OfferCredentials("key", sshKey)
		line, _, err := m.commandLine()
		if err != nil || len(line) >= m.board.commandLine {
			t.Errorf("%s: %d bytes, error %v", tt.architecture, len(line), err)
		}
		_, told := m.credentials["mkosi.notify"]
		_, unit := m.credentials["systemd.extra-unit.mkosi-notify.service"]
		_, keyed := m.credentials["ssh.authorized_keys.root"]
		if told != tt.told || unit != tt.told || keyed != tt.keyed {
			t.Errorf("%s: the guest tells: %v, with its unit: %v, and has the key: %v; %d bytes", tt.architecture, told, unit, keyed, len(line))
		}
		if warned := strings.Contains(s.said.String(), "the guest gets no way to tell"); warned == tt.told {
			t.Errorf("%s: warned: %v", tt.architecture, warned)
		}
		m = s.plan()
		for name, value := range agent.GuestCredentials() {
			m.AddCredential(name, value)
		}
		if line, _, err := m.commandLine(); (err == nil) != tt.tests {
			t.Errorf("%s: what runs tests makes a line of %d bytes, error %v", tt.architecture, len(line), err)
		}
	}
}

func TestCredentialsThatDoNotFit(t *testing.T) {
	for architecture, hint := range map[config.Architecture]string{
		config.ArchArm64: "give them names of at most 28 bytes, or set Firmware=uefi", config.ArchS390X: "pass fewer or shorter ones",
	} {
		s := newScene(t)
		s.direct(architecture)
		m := s.plan()
		m.credentials = map[string]string{strings.Repeat("l", 29): strings.Repeat("x", 4000), strings.Repeat("m", 29): ""}
		m.OfferCredentials("thing", map[string]string{"other": "y"})
		_, err := m.Run(t.Context())
		want := "the credentials " + strings.Repeat("l", 29) + ", " + strings.Repeat("m", 29) + " do not fit on the kernel command line"
		var hinted *hintError
		if !errors.As(err, &hinted) || !strings.HasPrefix(err.Error(), want) || hinted.hint != hint {
			t.Errorf("%s: got %v", architecture, err)
		}
	}
}

// TestSecretCommandLine has a kernel get credentials on its command line, which only QEMU may see.
func TestSecretCommandLine(t *testing.T) {
	s := newScene(t)
	s.stage(`echo "$@"; greet; eval "read -r line <&$monitor; echo \"QEMU got \$line\"; echo '{\"return\": {}}' >&$monitor; read -r line <&$monitor; echo \"and \$line\"; echo '{\"return\": {}}' >&$monitor"`)
	s.write(filepath.Join(s.img.ExtraSearchPaths[0], "qemu-system-s390x"), []byte("#!/bin/sh\nexec "+filepath.Join(s.img.ExtraSearchPaths[0], "qemu-system-x86_64")+" \"$@\"\n"), 0o755)
	s.img.Architecture, s.img.Credentials = config.ArchS390X, []config.Credential{{Name: "a", Value: "secret"}}
	var printed bytes.Buffer
	s.opts.Console = Console{Output: &printed}
	if _, err := s.plan().Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	arguments, got, _ := strings.Cut(printed.String(), "QEMU got ")
	set, begun, _ := strings.Cut(got, "and ")
	const hidden = "systemd.set_credential_binary=a:c2VjcmV0 "
	if !strings.Contains(set, `"qom-set"`) || !strings.Contains(set, hidden) || !strings.Contains(begun, `"x-exit-preconfig"`) {
		t.Errorf("QEMU heard %q, then %q", set, begun)
	}
	for what, text := range map[string]string{"QEMU's arguments": arguments, "the log": s.said.String()} {
		if strings.Contains(text, "secret") || strings.Contains(text, "c2VjcmV0") || !strings.Contains(text, "--preconfig") {
			t.Errorf("%s: %s", what, text)
		}
	}
}

// TestSecretCommandLineIsRefused has QEMU not take the kernel command line, and not live to see it.
func TestSecretCommandLineIsRefused(t *testing.T) {
	for want, answer := range map[string]string{
		"handing the kernel command line over: asking QEMU for qom-set: QEMU says: no": `echo '{\"error\": {\"desc\": \"no\"}}' >&$monitor; trap 'exit 0' TERM; sleep 1000 & wait`,
		"no such device": `echo no such device >&2; exit 1`,
	} {
		s := newScene(t)
		s.stage(`greet; eval "read -r line <&$monitor; ` + answer + `"`)
		s.write(filepath.Join(s.img.ExtraSearchPaths[0], "qemu-system-s390x"), []byte("#!/bin/sh\nexec "+filepath.Join(s.img.ExtraSearchPaths[0], "qemu-system-x86_64")+" \"$@\"\n"), 0o755)
		s.img.Architecture, s.img.Credentials = config.ArchS390X, []config.Credential{{Name: "a", Value: "secret"}}
		s.opts.Console = Console{Output: io.Discard}
		if _, err := s.plan().Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
