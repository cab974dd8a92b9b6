package bootloader

import (
	"errors"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mkosi-go/mkosi/internal/host"
)

// maxText bounds the text files that are read from a tree, in bytes.
const maxText = 1 << 20

// tokenFiles are where kernel-install(8) finds the entry token of a system.
var tokenFiles = []string{"etc/kernel/entry-token", "usr/lib/kernel/entry-token"}

// ErrNoToken is returned for a tree that nothing gives a name to.
var ErrNoToken = errors.New("boot loader entries need a name for the system: set ImageId=, or give the image a file /etc/kernel/entry-token or an os-release file with ID=")

// EntryToken returns the name that boot loader entries of the system in a tree begin with: what
// /etc/kernel/entry-token says, else an initialised machine ID, else IMAGE_ID= or ID= of os-release(5). It returns
// ErrNoToken when there is none of them.
func EntryToken(root string) (string, error) {
	i, err := openImage(root)
	if err != nil {
		return "", err
	}
	defer i.close()
	token, _, err := i.entryToken()
	return token, err
}

// entryToken returns the entry token and whether it is the machine ID, which may differ on the machine that boots.
func (i *image) entryToken() (token string, machineID bool, err error) {
	for _, name := range tokenFiles {
		line, err := i.firstLine(name)
		if err != nil {
			return "", false, err
		}
		if ValidName(line) {
			return line, false, nil
		}
	}
	id, err := i.firstLine("etc/machine-id")
	if err != nil {
		return "", false, err
	}
	if isMachineID(id) {
		return strings.ToLower(id), true, nil
	}
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		b, err := i.read(name, maxText)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", false, err
		}
		fields := host.ParseOSRelease(string(b))
		for _, key := range []string{"IMAGE_ID", "ID"} {
			if ValidName(fields[key]) {
				return fields[key], false, nil
			}
		}
		break
	}
	return "", false, ErrNoToken
}

// firstLine returns the first line of a file, or "" if there is none.
func (i *image) firstLine(name string) (string, error) {
	b, err := i.read(name, maxText)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line, err
}

// ValidName reports whether s can be the name of a file on a FAT file system, and a word of a configuration file.
func ValidName(s string) bool {
	bad := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`/\:*?"<>|`, r) }
	// Dots and spaces at the end are lost, see the Microsoft FAT specification, section 7.
	return s != "" && strings.TrimRight(s, ". ") == s && len(s) <= 255 && utf8.ValidString(s) && !strings.ContainsFunc(s, bad)
}

// Names are names in a directory of a boot partition, each with what it is for. The zero value cannot take any; make one.
type Names map[string]string

// Take takes a name for something, and reports whether it was free. If not, other is what has it. File names on a FAT file
// system do not differ by case alone.
func (n Names) Take(name, what string) (other string, free bool) {
	folded := strings.ToLower(name)
	if other, taken := n[folded]; taken {
		return other, false
	}
	n[folded] = what
	return "", true
}

// isMachineID reports whether s is a machine-id(5); "uninitialized" is none.
func isMachineID(s string) bool {
	const digits = "0123456789abcdefABCDEF"
	return len(s) == 32 && strings.Trim(s, digits) == "" && strings.Trim(s, "0") != ""
}
