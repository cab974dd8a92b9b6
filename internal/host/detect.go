package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

// architectures maps GOARCH to the spelling of systemd.
var architectures = map[string]string{
	"386":      "x86",
	"amd64":    "x86-64",
	"arm":      "arm",
	"arm64":    "arm64",
	"loong64":  "loongarch64",
	"mips64le": "mips64-le",
	"mipsle":   "mips-le",
	"ppc64":    "ppc64",
	"ppc64le":  "ppc64-le",
	"riscv64":  "riscv64",
	"s390x":    "s390x",
}

// Detect looks at this machine. A fact that cannot be found out is left at
// its zero value.
func Detect() Facts {
	f := Facts{
		Architecture: architectures[runtime.GOARCH],
		CPUs:         runtime.NumCPU(),
		Environment:  environment(os.Environ()),
		UID:          os.Getuid(),
		GID:          os.Getgid(),
	}
	f.SystemdVersion = sync.OnceValue(func() string { return SystemdVersion(context.Background()) })
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if data, err := os.ReadFile(path); err == nil {
			f.setOSRelease(string(data))
			break
		}
	}
	f.Home, _ = os.UserHomeDir()
	f.HomeOf = homeOf
	if u, err := user.Current(); err == nil {
		f.User = u.Username
	}
	if _, err := os.Stat("/sys/firmware/efi"); err == nil {
		f.UEFI = true
	}
	for _, path := range []string{"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"} {
		if _, err := os.Stat(path); err == nil {
			f.CACertificates = path
			break
		}
	}
	return f
}

func homeOf(name string) string {
	u, err := user.Lookup(name)
	if err != nil {
		return ""
	}
	return u.HomeDir
}

// SystemdVersion asks systemctl for the version of systemd, such as "257".
// It is "" where there is no systemd.
func SystemdVersion(ctx context.Context) string {
	path, err := FindTool("systemctl")
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = waitDelay
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return ParseSystemdVersion(string(out))
}

var systemdVersion = regexp.MustCompile(`^systemd ([0-9][^ ()]*)`)

// ParseSystemdVersion returns the version in what programs of systemd print for --version, such as "257" or "259~rc1", or "".
func ParseSystemdVersion(out string) string {
	if m := systemdVersion.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return ""
}

func environment(list []string) map[string]string {
	env := make(map[string]string, len(list))
	for _, kv := range list {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	return env
}

func (f *Facts) setOSRelease(data string) {
	fields := ParseOSRelease(data)
	f.Distribution = fields["ID"]
	f.DistributionLike = strings.Fields(fields["ID_LIKE"])
	f.VersionID = fields["VERSION_ID"]
	f.Codename = fields["VERSION_CODENAME"]
}

// ParseOSRelease reads assignments in the syntax of os-release(5), which
// environment files share. Lines that are no assignment are passed over.
func ParseOSRelease(data string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(data) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok || key == "" || line[0] == '#' {
			continue
		}
		fields[key] = unquote(value)
	}
	return fields
}

// unquote takes a value out of shell quotes, as far as os-release(5) has them.
func unquote(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] || (s[0] != '"' && s[0] != '\'') {
		return s
	}
	quote := s[0]
	s = s[1 : len(s)-1]
	if quote == '\'' {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\\\"$`", s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// FindTool returns the absolute path of a program. It looks in PATH and,
// since the PATH of ordinary users often lacks them, in the directories for
// system programs.
func FindTool(name string) (string, error) {
	path := os.Getenv("PATH") + ":/usr/sbin:/sbin"
	return FindIn(name, filepath.SplitList(path))
}

// FindIn returns the absolute path of a program in the first of dirs that has
// it. Directories that are not absolute are passed over.
func FindIn(name string, dirs []string) (string, error) {
	if strings.ContainsRune(name, '/') {
		return "", fmt.Errorf("looking for a program: %q is a path, not a name", name)
	}
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("looking for program %s: %w", name, exec.ErrNotFound)
}
