//go:build integration

package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/luks"
)

const luksPassphrase = "two\nlines\n"

// memoryDir is a folder in memory, for programs that sync at every step.
func memoryDir(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir))
	t.Cleanup(func() { must(t, exec.Command("umount", dir)) })
	return dir
}

// luksVolume writes a volume with some data to a file. Each file's volume has
// another identifier: cryptsetup locks them by it.
func luksVolume(t *testing.T, path string, o luks.Options, data []byte) *luks.Volume {
	t.Helper()
	o.UUID, o.Passphrase = uuid.NewSHA1(diskSeed, []byte(filepath.Base(path))), []byte(luksPassphrase)
	v, err := luks.New(o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(data))
	err = errors.Join(
		f.Truncate(luks.HeaderSize+size),
		v.WriteHeader(f),
		v.Encrypt(t.Context(), io.NewOffsetWriter(f, luks.HeaderSize), bytes.NewReader(data), size),
		f.Close())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// cryptsetup opens our volumes with the passphrase and nothing else, and when
// it decrypts them for good, which needs nothing of the kernel, the data is
// there.
func TestLUKSForCryptsetup(t *testing.T) {
	dir := memoryDir(t, "256m")
	data := writeNoise(t, filepath.Join(dir, "data"), 3<<20)
	writeFile(t, filepath.Join(dir, "key"), []byte(luksPassphrase), 0o600)
	writeFile(t, filepath.Join(dir, "wrong"), []byte(strings.TrimSpace(luksPassphrase)), 0o600)
	var commands []string
	volumes := map[string]*luks.Volume{}
	const open = "cryptsetup luksDump NAME >NAME.dump && cryptsetup open --test-passphrase --key-file key NAME"
	const more = " && ! cryptsetup open --test-passphrase --key-file wrong NAME" +
		" && cryptsetup luksDump --dump-volume-key --batch-mode --key-file key --volume-key-file NAME.vk NAME" +
		" && cryptsetup reencrypt --decrypt --batch-mode --force-offline-reencrypt --header NAME.header --key-file key NAME" +
		" && cmp --bytes=3145728 NAME data"
	for _, o := range []luks.Options{
		{KDF: luks.KDFArgon2id}, {KDF: luks.KDFPBKDF2, AllowDiscards: true},
		{KDF: luks.KDFMinimal, SectorSize: 512}, {KDF: luks.KDFMinimal, SectorSize: 1024},
		{KDF: luks.KDFMinimal, SectorSize: 2048}, {KDF: luks.KDFMinimal, SectorSize: 4096, AllowDiscards: true},
	} {
		name := fmt.Sprintf("%s-%d", o.KDF, o.SectorSize)
		o.Label, o.Subsystem = "luks-test", "tests"
		volumes[name] = luksVolume(t, filepath.Join(dir, name), o, data)
		command := open
		if o.SectorSize == 512 || o.SectorSize == 4096 {
			command += more
		}
		commands = append(commands, strings.ReplaceAll(command, "NAME", name))
	}
	inReference(t, dir, "true", commands)
	for name, v := range volumes {
		dump := string(readFile(t, filepath.Join(dir, name+".dump")))
		for _, want := range []string{"Label:         \tluks-test\n", "Subsystem:     \ttests\n", v.UUID().String()} {
			if !strings.Contains(dump, want) {
				t.Errorf("%s: luksDump does not say %q:\n%s", name, want, dump)
			}
		}
		if discards := name == "pbkdf2-0" || name == "minimal-4096"; strings.Contains(dump, "allow-discards") != discards {
			t.Errorf("%s: flags in\n%s", name, dump)
		}
		if v.SectorSize() != 512 {
			continue
		}
		mac := must(t, reference(dir, "sh", "-c", "printf %s cryptsetup:volume:"+v.UUID().String()+
			" | openssl dgst -sha256 -mac hmac -macopt hexkey:$(od -An -v -tx1 "+name+".vk | tr -d ' \\n')"))
		if !strings.Contains(mac, v.VolumeKeyHash("volume")) {
			t.Errorf("%s: hash of the volume key %s, openssl says %s", name, v.VolumeKeyHash("volume"), mac)
		}
	}
}

// A volume of cryptsetup's is read: slots of all kinds, the second of two, and
// what the header says.
func TestLUKSOfCryptsetup(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "key"), []byte(luksPassphrase), 0o600)
	writeFile(t, filepath.Join(dir, "other"), []byte("other"), 0o600)
	const format = "truncate -s 20M NAME && cryptsetup luksFormat --batch-mode --key-file other --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label lab --sector-size 512 NAME" +
		" && cryptsetup luksAddKey --key-file other NAME key --pbkdf "
	var commands []string
	slots := map[string]string{
		"argon2id": "argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 2",
		"argon2i":  "argon2i --pbkdf-force-iterations 5 --pbkdf-memory 64 --pbkdf-parallel 1",
		"pbkdf2":   "pbkdf2 --pbkdf-force-iterations 2000 --hash sha512",
	}
	for name, options := range slots {
		commands = append(commands, strings.ReplaceAll(format+options, "NAME", name))
	}
	inReference(t, dir, "true", commands)
	for name := range slots {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := luks.ReadInfo(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Label != "lab" || len(info.Keyslots) != 2 || info.Keyslots[1].KDF != name || len(info.Segments) != 1 || info.Segments[0].SectorSize != 512 {
			t.Errorf("%s: read as %+v", name, info)
		}
		v, err := luks.Open(t.Context(), f, []byte(luksPassphrase))
		if err != nil || v.UUID() != info.UUID || v.DataOffset() != info.Segments[0].Offset {
			t.Errorf("%s: opened as %v, %v", name, v, err)
		}
		if _, err := luks.Open(t.Context(), f, []byte("none")); !errors.Is(err, luks.ErrPassphrase) {
			t.Errorf("%s: with a wrong passphrase: %v", name, err)
		}
	}
}

// luksHeader is the metadata of a header without what is random, and without
// how often the digest of the key is iterated, which cryptsetup measures.
func luksHeader(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	first := func(part string) map[string]any {
		return m[part].(map[string]any)["0"].(map[string]any)
	}
	delete(first("keyslots")["kdf"].(map[string]any), "salt")
	for _, name := range []string{"salt", "digest", "iterations"} {
		delete(first("digests"), name)
	}
	return m
}

// What systemd-repart encrypts is opened and decrypted, has the identifier and
// the key hash that we derive, and a header like ours.
func TestLUKSLikeRepart(t *testing.T) {
	dir := memoryDir(t, "256m")
	data := writeNoise(t, filepath.Join(dir, "data"), 2<<20)
	writeFile(t, filepath.Join(dir, "key"), []byte(luksPassphrase), 0o600)
	definitions := filepath.Join(dir, "repart.d")
	for _, d := range []string{definitions, filepath.Join(dir, "etc")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(definitions, "10-data.conf"), []byte("[Partition]\nType=linux-generic\nLabel=secret\nEncrypt=key-file\nEncryptKDF=minimal\n"+
		"CopyBlocks=/data\nEncryptedVolume=volume:/etc/key:luks:fixate-volume-key\n"), 0o644)
	image := filepath.Join(dir, "theirs.raw")
	diskRepart(t, dir, dir, definitions, image, "--key-file="+filepath.Join(dir, "key"), "--generate-crypttab=/etc/crypttab")
	part := partitions(t, image)[0]
	theirs := filepath.Join(dir, "theirs")
	extract(t, image, part, theirs)

	f, err := os.Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := luks.ReadInfo(f)
	if err != nil {
		t.Fatal(err)
	}
	v, err := luks.Open(t.Context(), f, []byte(luksPassphrase))
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	out, err := os.Create(plain)
	if err != nil {
		t.Fatal(err)
	}
	size := part.Size*sector - v.DataOffset()
	if err := errors.Join(v.Decrypt(t.Context(), out, io.NewSectionReader(f, v.DataOffset(), size), size), out.Close()); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, plain); !bytes.Equal(got[:len(data)], data) {
		t.Error("what was decrypted is not what was encrypted")
	}
	id := disk.LUKSUUID(uuid.MustParse(part.UUID))
	if info.UUID != id || info.Label != "luks-secret" || info.Subsystem != "" {
		t.Errorf("systemd-repart's volume is %+v, and we would have %s", info, id)
	}
	if crypttab := string(readFile(t, filepath.Join(dir, "etc/crypttab"))); !strings.Contains(crypttab, "luks,fixate-volume-key="+v.VolumeKeyHash("volume")+"\n") {
		t.Errorf("the key hash is %s, and crypttab\n%s", v.VolumeKeyHash("volume"), crypttab)
	}

	luksVolume(t, filepath.Join(dir, "ours"), luks.Options{KDF: luks.KDFMinimal, AllowDiscards: true}, nil)
	dump := func(name string) map[string]any {
		return luksHeader(t, must(t, reference(dir, "cryptsetup", "luksDump", "--dump-json-metadata", name)))
	}
	if diff := cmp.Diff(dump("theirs"), dump("ours")); diff != "" {
		t.Errorf("header (-systemd-repart +ours):\n%s", diff)
	}
}
