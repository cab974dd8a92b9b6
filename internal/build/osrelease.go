package build

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
)

// maxEnvFile bounds the size of an os-release(5) file that is read.
const maxEnvFile = 1 << 20

// osReleasePaths are where os-release(5) lies in a tree, in order of preference.
var osReleasePaths = []string{"usr/lib/os-release", "etc/os-release"}

// readOSRelease returns the fields of the tree's os-release(5) file, or nil when it has none.
func readOSRelease(root *os.Root) (map[string]string, error) {
	for _, p := range osReleasePaths {
		b, err := readFileLimited(root, p, maxEnvFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading os-release: %w", err)
		}
		return parseEnvFile(b), nil
	}
	return nil, nil
}

// parseEnvFile reads KEY=value lines as os-release(5) has them: comments and lines without "=" are skipped, quotes
// taken off. A later line wins.
func parseEnvFile(b []byte) map[string]string {
	fields := map[string]string{}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, maxEnvFile)
	for sc.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(sc.Text()), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		fields[key] = unquote(value)
	}
	return fields
}

// unquote takes one pair of shell quotes off a value and resolves the escapes that os-release(5) allows in double ones.
func unquote(s string) string {
	if len(s) < 2 || s[0] != s[len(s)-1] || (s[0] != '"' && s[0] != '\'') {
		return s
	}
	inner := s[1 : len(s)-1]
	if s[0] == '\'' {
		return inner
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) && strings.IndexByte("\"$`\\", inner[i+1]) >= 0 {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}

// quote writes a value in double quotes, escaped as os-release(5) asks.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(s) + `"`
}

// field is one KEY=value line.
type field struct{ key, value string }

// setFields replaces the lines of the keys that have a value and appends those that are missing.
func setFields(content []byte, fields []field) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(content)) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		if !hasField(fields, key) {
			out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	for _, f := range fields {
		fmt.Fprintf(&out, "%s=%s\n", f.key, f.value)
	}
	return out.Bytes()
}

func hasField(fields []field, key string) bool {
	for _, f := range fields {
		if f.key == key {
			return true
		}
	}
	return false
}

// writeOSRelease records ImageId=, ImageVersion= and Hostname= in the tree's os-release(5) file, if it has one.
func writeOSRelease(root *os.Root, img *config.Image) error {
	var fields []field
	for _, f := range []field{{"IMAGE_ID", img.ImageId}, {"IMAGE_VERSION", img.ImageVersion}, {"DEFAULT_HOSTNAME", img.Hostname}} {
		if f.value != "" {
			fields = append(fields, field{f.key, quote(f.value)})
		}
	}
	if len(fields) == 0 {
		return nil
	}
	for _, p := range osReleasePaths {
		b, err := readFileLimited(root, p, maxEnvFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %s of the image: %w", p, err)
		}
		return writeFile(root, p, setFields(b, fields), 0o644)
	}
	return nil
}

// extensionRelease describes where an extension image says what it fits, extension-release(5).
type extensionRelease struct {
	dir    string // directory in the tree
	prefix string // of the fields
}

var extensionReleases = map[config.Format]extensionRelease{
	config.FormatSysext:  {"usr/lib/extension-release.d", "SYSEXT"},
	config.FormatConfext: {"etc/extension-release.d", "CONFEXT"},
}

// defaultScope says where an extension applies unless SYSEXT_SCOPE or CONFEXT_SCOPE says otherwise.
const defaultScope = "initrd system portable"

// writeExtensionRelease writes the extension-release file of a sysext or confext. host holds the os-release(5) fields
// of the base trees, nil when there are none; then the extension fits any system. Fields of a file that the tree
// already has are kept.
func writeExtensionRelease(root *os.Root, img *config.Image, host map[string]string) error {
	kind, ok := extensionReleases[img.Format]
	if !ok {
		return nil
	}
	fields := []field{{"ID", "_any"}}
	if id := host["ID"]; id != "" {
		fields[0].value = id
		fields = append(fields, field{"VERSION_ID", host["VERSION_ID"]})
	}
	scope, set := img.Environment[kind.prefix+"_SCOPE"]
	if !set {
		scope = defaultScope
	}
	fields = append(fields,
		field{kind.prefix + "_ID", img.ImageId},
		field{kind.prefix + "_VERSION_ID", img.ImageVersion},
		field{kind.prefix + "_SCOPE", scope},
		field{"ARCHITECTURE", string(img.Architecture)})

	name := path.Join(kind.dir, "extension-release."+img.Output)
	old, err := readFileLimited(root, name, maxEnvFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading %s of the image: %w", name, err)
	}
	present := parseEnvFile(old)
	var missing []field
	for _, f := range fields {
		if _, ok := present[f.key]; !ok && f.value != "" {
			missing = append(missing, f)
		}
	}
	if err := root.MkdirAll(kind.dir, 0o755); err != nil {
		return fmt.Errorf("creating %s in the image: %w", kind.dir, err)
	}
	return writeFile(root, name, setFields(old, missing), 0o644)
}
