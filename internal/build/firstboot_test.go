package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

func TestFirstBoot(t *testing.T) {
	root, dir := newTree(t, map[string]string{
		"etc/passwd":           "daemon:*:1:1:daemon:/:/bin/false\nroot:*:0:0:root:/root:/bin/bash\n",
		"etc/default/keyboard": "keep",
	})
	if err := os.Symlink("default/keyboard", filepath.Join(dir, "etc/vconsole.conf")); err != nil {
		t.Fatal(err)
	}
	img := &config.Image{
		Locale: "de_DE.UTF-8", LocaleMessages: "C", Keymap: "de", Timezone: "Europe/Berlin", Hostname: "hh", RootShell: "/bin/sh",
		RootPassword: &config.RootPassword{Password: "secret"},
	}
	if err := firstBoot(root, img, 12345); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/hostname":                        "hh\n",
		"etc/locale.conf":                     "LANG=de_DE.UTF-8\nLC_MESSAGES=C\n",
		"etc/vconsole.conf":                   "KEYMAP=de\n",
		"etc/default/keyboard":                "keep",
		"etc/passwd":                          "daemon:*:1:1:daemon:/:/bin/false\nroot:x:0:0:root:/root:/bin/sh\n",
		"usr/lib/credstore/firstboot.locale":  "de_DE.UTF-8",
		"usr/lib/credstore/passwd.shell.root": "/bin/sh",
	} {
		if got := content(t, root, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "etc/localtime")); err != nil || target != "../usr/share/zoneinfo/Europe/Berlin" {
		t.Errorf("localtime points to %q (%v)", target, err)
	}
	fi, err := root.Stat("usr/lib/credstore/passwd.hashed-password.root")
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the password's credential has mode %v (%v)", fi.Mode(), err)
	}
	hash, err := rootPasswordHash(img)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(filepath.Join(dir, "etc/shadow")); err != nil || fi.Mode().Perm() != 0 {
		t.Errorf("shadow: %v, %v", fi, err)
	}
	if err := os.Chmod(filepath.Join(dir, "etc/shadow"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, root, "etc/shadow"), "root:"+*hash+":12345::::::\n"; got != want {
		t.Errorf("shadow is %q, want %q", got, want)
	}
}

// The salt depends on the seed, and the hash is one that crypt(3) knows.
func TestRootPasswordHash(t *testing.T) {
	img := &config.Image{RootPassword: &config.RootPassword{Password: "secret"}}
	a, err := rootPasswordHash(img)
	if err != nil {
		t.Fatal(err)
	}
	img.Seed[0] = 1
	b, err := rootPasswordHash(img)
	if err != nil {
		t.Fatal(err)
	}
	if *a == *b {
		t.Error("two seeds give the same salt")
	}
	part := strings.Split(*a, "$")
	if len(part) != 4 || part[1] != "6" || len(part[2]) != 16 {
		t.Fatalf("not a SHA-512 hash of crypt(5): %s", *a)
	}
}

// Made with `openssl passwd -6 -salt saltsaltsaltsalt secret`.
func TestHashPasswordKnownAnswer(t *testing.T) {
	const want = "$6$saltsaltsaltsalt$ph0yGsyjzqdeFaon7.gJZo8eAG5/rj9/JdzOu1Rl7dKzBYg3xgvl7T2VQ2Rt81bc5AXkdA54r0p8QvC1omD6R1"
	got, err := hashPassword("secret", "saltsaltsaltsalt")
	if err != nil || got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

func TestHashedPasswordIsTakenAsItIs(t *testing.T) {
	h, err := rootPasswordHash(&config.Image{RootPassword: &config.RootPassword{Hashed: true}})
	if err != nil || *h != "" {
		t.Errorf("got %v, %v", h, err)
	}
}

func TestFirstBootRefusesLineBreaks(t *testing.T) {
	for _, img := range []config.Image{{RootShell: "/bin/sh\nx"}, {RootShell: "a:b"}, {Hostname: "a\nb\n"}} {
		root, _ := newTree(t, map[string]string{"etc/": ""})
		if err := firstBoot(root, &img, 0); err == nil {
			t.Errorf("accepted %+q", img.RootShell+img.Hostname)
		}
	}
}

// A link in the image must not lead a write out of it.
func TestWriteFileStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(outside, []byte("safe"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, dir := newTree(t, map[string]string{"etc/": ""})
	if err := os.Symlink(outside, filepath.Join(dir, "etc/hostname")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(root, "etc/hostname", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(root, "link/victim", []byte("x"), 0o644); err == nil {
		t.Error("wrote through a link that leads outside")
	}
	if b, _ := os.ReadFile(outside); string(b) != "safe" {
		t.Errorf("a file outside of the tree was changed: %q", b)
	}
}
