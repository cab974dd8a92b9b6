package build

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/go-crypt/crypt/algorithm/shacrypt"

	"github.com/mkosi-go/mkosi/internal/config"
)

const credstore = "usr/lib/credstore"

// firstBoot writes what systemd-firstboot(1) would ask for: locale, keymap, time zone, host name, root's password and
// shell; and the matching credentials (systemd.exec(5)) into /usr/lib/credstore, so that they apply even when only
// /usr is shipped. day is the date of the password change in days since 1970.
func firstBoot(root *os.Root, img *config.Image, day int64) error {
	for _, v := range []string{img.Locale, img.LocaleMessages, img.Keymap, img.Timezone, img.Hostname} {
		if strings.ContainsAny(v, "\n\x00") {
			return fmt.Errorf("%q has a line break in it", v)
		}
	}
	hash, err := rootPasswordHash(img)
	if err != nil {
		return err
	}
	if hash == nil && img.Locale+img.LocaleMessages+img.Keymap+img.Timezone+img.Hostname+img.RootShell == "" {
		return nil
	}
	for _, dir := range []string{"etc/kernel", credstore} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("creating %s in the image: %w", dir, err)
		}
	}
	// The lock of whoever changed users before. Nobody holds it any more.
	if err := root.RemoveAll("etc/.pwd.lock"); err != nil {
		return fmt.Errorf("removing etc/.pwd.lock from the image: %w", err)
	}
	if err := firstBootFiles(root, img); err != nil {
		return err
	}
	if hash != nil || img.RootShell != "" {
		if err := setRoot(root, hash, img.RootShell, day); err != nil {
			return err
		}
	}
	credentials := []struct {
		name, value string
		mode        fs.FileMode
	}{
		{"firstboot.locale", img.Locale, 0o644},
		{"firstboot.locale-messages", img.LocaleMessages, 0o644},
		{"firstboot.keymap", img.Keymap, 0o644},
		{"firstboot.timezone", img.Timezone, 0o644},
		{"passwd.shell.root", img.RootShell, 0o644},
	}
	for _, c := range credentials {
		if c.value == "" {
			continue
		}
		if err := writeCredential(root, c.name, c.value, c.mode); err != nil {
			return err
		}
	}
	if hash != nil {
		return writeCredential(root, "passwd.hashed-password.root", *hash, 0o600)
	}
	return nil
}

func writeCredential(root *os.Root, name, value string, mode fs.FileMode) error {
	return writeFile(root, path.Join(credstore, name), []byte(value), mode)
}

// firstBootFiles writes hostname(5), locale.conf(5), vconsole.conf(5) and localtime(5).
func firstBootFiles(root *os.Root, img *config.Image) error {
	var locale string
	if img.Locale != "" {
		locale += "LANG=" + img.Locale + "\n"
	}
	if img.LocaleMessages != "" {
		locale += "LC_MESSAGES=" + img.LocaleMessages + "\n"
	}
	keymap := ""
	if img.Keymap != "" {
		var err error
		if keymap, err = vconsole(root, img.Keymap); err != nil {
			return err
		}
	}
	hostname := ""
	if img.Hostname != "" {
		hostname = img.Hostname + "\n"
	}
	for _, file := range []struct{ name, content string }{{"etc/locale.conf", locale}, {"etc/vconsole.conf", keymap}, {"etc/hostname", hostname}} {
		if file.content == "" {
			continue
		}
		if err := writeFile(root, file.name, []byte(file.content), 0o644); err != nil {
			return err
		}
	}
	if img.Timezone == "" {
		return nil
	}
	return replaceSymlink(root, path.Join("../usr/share/zoneinfo", img.Timezone), "etc/localtime")
}

// rootPasswordHash returns the crypt(5) hash of RootPassword=, or nil when it is not set. The salt is derived from the
// image's seed and the password, so that two builds with the same seed give the same bytes.
func rootPasswordHash(img *config.Image) (*string, error) {
	p := img.RootPassword
	if p == nil {
		return nil, nil
	}
	if p.Hashed {
		return &p.Password, nil
	}
	mac := hmac.New(sha256.New, img.Seed[:])
	mac.Write([]byte("root password salt\x00" + p.Password))
	salt := base64.RawStdEncoding.EncodeToString(mac.Sum(nil))[:16]
	salt = strings.ReplaceAll(salt, "+", ".")
	hash, err := hashPassword(p.Password, salt)
	if err != nil {
		return nil, fmt.Errorf("hashing the root password: %w", err)
	}
	return &hash, nil
}

// hashPassword returns the SHA-512 hash of a password as crypt(5) writes it.
func hashPassword(password, salt string) (string, error) {
	// 5000 rounds is what crypt(5) means when a hash names none.
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithIterations(5000))
	if err != nil {
		return "", err
	}
	digest, err := h.HashWithSalt(password, []byte(salt))
	if err != nil {
		return "", err
	}
	return strings.Replace(digest.Encode(), "$6$rounds=5000$", "$6$", 1), nil
}

// setRoot edits root's lines in passwd(5) and shadow(5), creating them where they are missing.
func setRoot(root *os.Root, hash *string, shell string, day int64) error {
	if strings.ContainsAny(shell, ":\n") || (hash != nil && strings.ContainsAny(*hash, ":\n")) {
		return errors.New("root's password hash and shell may contain no colon and no line break")
	}
	err := editLine(root, "etc/passwd", "root:x:0:0:Super User:/root:/bin/sh", 0o644, func(f []string) {
		if hash != nil {
			f[1] = "x"
		}
		if shell != "" {
			f[6] = shell
		}
	})
	if err != nil {
		return err
	}
	// Without a password of its own root gets the entry of an account that nobody can log in to.
	locked := fmt.Sprintf("root:!*:%d::::::", day)
	return editLine(root, "etc/shadow", locked, 0o000, func(f []string) {
		if hash != nil {
			f[1], f[2] = *hash, fmt.Sprint(day)
		}
	})
}

// editLine changes root's line of a file such as passwd(5). entry is the line when there is none, mode that of a
// file that does not exist yet.
func editLine(root *os.Root, name, entry string, mode fs.FileMode, change func(fields []string)) error {
	content, err := readFileLimited(root, name, 16<<20)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading %s of the image: %w", name, err)
	}
	if fi, err := root.Stat(name); err == nil {
		mode = fi.Mode().Perm()
	}
	want := strings.Count(entry, ":")
	var out bytes.Buffer
	found := false
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		if f := strings.Split(line, ":"); f[0] == "root" && len(f) == want+1 && !found {
			found = true
			change(f)
			line = strings.Join(f, ":")
		}
		out.WriteString(line + "\n")
	}
	if !found {
		f := strings.Split(entry, ":")
		change(f)
		out.WriteString(strings.Join(f, ":") + "\n")
	}
	return writeFile(root, name, out.Bytes(), mode)
}
