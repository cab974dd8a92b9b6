//go:build integration

package test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// signDefinitions are two verity sets without their signatures, and gaps that
// are there for other reasons.
var signDefinitions = map[string]string{
	"10-root":          "Type=root\nFormat=erofs\nCopyFiles=/opt\nVerity=data\nVerityMatchKey=root\nMinimize=best\nPaddingMinBytes=1M\nPaddingMaxBytes=1M\n",
	"11-root-hash":     "Type=root-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\n",
	"12-root-sig":      "Type=root-verity-sig\nVerity=signature\nVerityMatchKey=root\nLabel=sig of root\nReadOnly=no\n",
	"20-home":          "Type=b9f4a1d2-3c55-4e0a-9a71-2f6c0d8e1b34\nSizeMinBytes=1M\nSizeMaxBytes=1M\nPaddingMinBytes=64K\nPaddingMaxBytes=64K\n",
	"30-usr":           "Type=usr\nFormat=erofs\nCopyFiles=/usr:/\nVerity=data\nVerityMatchKey=usr\nMinimize=best\n",
	"31-usr-hash":      "Type=usr-verity\nVerity=hash\nVerityMatchKey=usr\nMinimize=best\n",
	"32-usr-signature": "Type=usr-verity-sig\nVerity=signature\nVerityMatchKey=usr\n",
	"33-usr-later":     "Type=usr\nLabel=_empty\nSizeMinBytes=1M\nSizeMaxBytes=1M\n",
	"34-hash-later":    "Type=usr-verity\nLabel=_empty\nSizeMinBytes=64K\nSizeMaxBytes=64K\n",
	"40-data":          "Type=b9f4a1d2-3c55-4e0a-9a71-2f6c0d8e1b34\nSizeMinBytes=1M\nSizeMaxBytes=1M\n",
}

// signKeys makes a key and its certificate in a folder.
func signKeys(t *testing.T, dir string) (key, cert string) {
	t.Helper()
	keyPEM, certPEM, err := keys.Generate(keys.GenerateOptions{CommonName: "offline", ValidDays: 10, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	key, cert = filepath.Join(dir, "offline.key"), filepath.Join(dir, "offline.crt")
	if err := keys.WriteFiles(key, cert, keyPEM, certPEM, false); err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// What mkosi sign makes of an image that systemd-repart left unsigned is what a
// second run of systemd-repart makes of it. Given the key, that leaves the
// partitions empty (262), so here all but their content is compared.
func TestSignLikeRepart(t *testing.T) {
	dir := t.TempDir()
	key, cert := signKeys(t, dir)
	project, second := signProject(t, dir, signDefinitions)
	theirs, ours := filepath.Join(dir, "theirs.raw"), filepath.Join(dir, "ours.raw")
	must(t, reference(dir, append(second, "--private-key="+key, "--certificate="+cert, theirs)...))
	r := run(t, mkosi(project, "--verity-key", key, "--verity-certificate", cert, "sign", "--check", ours))
	if r.code != 0 || strings.Count(r.stderr, "added partition") != 2 {
		t.Fatalf("mkosi sign: %d\n%s", r.code, r.stderr)
	}
	parts := partitions(t, ours)
	if diff := cmp.Diff(partitions(t, theirs), parts); diff != "" {
		t.Errorf("partitions (-systemd-repart +ours):\n%s", diff)
	}
	must(t, reference(dir, "sgdisk", "--verify", ours))
	b := readFile(t, ours)
	for _, i := range []int{2, 6} {
		content := b[parts[i].Start*sector:][:parts[i].Size*sector]
		var sig struct{ RootHash, Signature string }
		if err := json.Unmarshal(bytes.TrimRight(content, "\x00"), &sig); err != nil {
			t.Fatal(err)
		}
		checkSignature(t, dir, sig.Signature, strings.ToLower(strings.ReplaceAll(parts[i-2].UUID+parts[i-1].UUID, "-", "")), cert)
		clear(content)
	}
	if !bytes.Equal(readFile(t, theirs), b) {
		t.Error("the images differ outside of the signatures")
	}
}

// Given a signature, the two make the same image, byte for byte.
func TestSignJoinedLikeRepart(t *testing.T) {
	dir := t.TempDir()
	key, cert := signKeys(t, dir)
	definitions := maps.Clone(signDefinitions)
	maps.DeleteFunc(definitions, func(name, _ string) bool { return strings.Contains(name, "usr") })
	project, second := signProject(t, dir, definitions)
	theirs, ours := filepath.Join(dir, "theirs.raw"), filepath.Join(dir, "ours.raw")
	parts := partitions(t, ours)
	hash := strings.ToLower(strings.ReplaceAll(parts[0].UUID+parts[1].UUID, "-", ""))
	writeFile(t, filepath.Join(dir, "hash"), []byte(hash), 0o644)
	must(t, reference(dir, "openssl", "smime", "-sign", "-noattr", "-binary", "-in", "hash", "-inkey", key, "-signer", cert, "-outform", "der", "-out", "hash.p7s"))
	join := "--join-signature=" + hash + ":" + filepath.Join(dir, "hash.p7s")
	must(t, reference(dir, append(second, join, "--certificate="+cert, theirs)...))
	must(t, mkosi(project, "--verity-certificate", cert, "sign", join, ours))
	if !bytes.Equal(readFile(t, theirs), readFile(t, ours)) {
		t.Error("the images differ")
	}
	must(t, reference(dir, "systemd-dissect", "--validate", "--image-policy=root=signed", ours))
}

// signProject writes a configuration with partition definitions, and an image
// that systemd-repart makes of them without the signatures, as ours.raw and
// theirs.raw. It returns the configuration's folder, and the command that
// completes the image.
func signProject(t *testing.T, dir string, definitions map[string]string) (project string, second []string) {
	t.Helper()
	project = filepath.Join(dir, "project")
	repart, tree := filepath.Join(project, "mkosi.repart"), filepath.Join(dir, "tree")
	for name, text := range definitions {
		writeFile(t, filepath.Join(repart, name+".conf"), []byte("[Partition]\n"+text), 0o644)
	}
	writeFile(t, filepath.Join(project, "mkosi.conf"), []byte("[Output]\nFormat=disk\nSeed="+diskSeed.String()+"\n"), 0o644)
	writeNoise(t, filepath.Join(tree, "usr/noise"), 300000)
	writeNoise(t, filepath.Join(tree, "opt/noise"), 700000)
	theirs := filepath.Join(dir, "theirs.raw")
	diskRepart(t, dir, tree, repart, theirs, "--defer-partitions=root-verity-sig,usr-verity-sig", "--size=16M")
	must(t, exec.Command("cp", theirs, filepath.Join(dir, "ours.raw")))
	return project, []string{"systemd-repart", "--root=" + tree, "--dry-run=no", "--json=off", "--no-pager", "--offline=yes",
		"--seed=" + diskSeed.String(), "--definitions=" + repart}
}

// An extension that is built with Verity=defer is signed by openssl elsewhere,
// and is then the one that a build with the key makes.
func TestSignJoined(t *testing.T) {
	root, dir := diskTree(t), t.TempDir()
	key, cert := signKeys(t, dir)
	deferred := diskOptions(t, dir, root, disk.VerityDefer)
	r := diskBuild(t, deferred)
	hash := hex.EncodeToString(r.Partitions[0].RootHash)
	writeFile(t, filepath.Join(dir, "hash"), []byte(hash), 0o644)
	must(t, reference(dir, "openssl", "smime", "-sign", "-noattr", "-binary", "-in", "hash", "-inkey", key, "-signer", cert, "-outform", "der", "-out", "hash.p7s"))
	must(t, mkosi(dir, "--seed", diskSeed.String(), "--verity-certificate", cert, "sign", "--join-signature", hash+":hash.p7s", deferred.Path))

	o := diskOptions(t, t.TempDir(), root, disk.VeritySigned)
	var err error
	if o.Key, o.Certificate, err = keys.LoadPair(key, cert); err != nil {
		t.Fatal(err)
	}
	diskBuild(t, o)
	if !bytes.Equal(readFile(t, o.Path), readFile(t, deferred.Path)) {
		t.Error("signed later is not the same as signed at once")
	}

	parts := partitions(t, deferred.Path)
	for i, name := range []string{"data", "tree", "sig"} {
		extract(t, deferred.Path, parts[i], filepath.Join(dir, name))
	}
	must(t, reference(dir, "veritysetup", "verify", "data", "tree", hash))
	must(t, reference(dir, "systemd-dissect", "--validate", "--image-policy=root=signed", deferred.Path))
	var sig struct{ RootHash, Signature string }
	if err := json.Unmarshal(bytes.TrimRight(readFile(t, filepath.Join(dir, "sig")), "\x00"), &sig); err != nil {
		t.Fatal(err)
	}
	if sig.RootHash != hash {
		t.Errorf("the signature is of %s, not %s", sig.RootHash, hash)
	}
	checkSignature(t, dir, sig.Signature, hash, cert)
}

// A signature partition can be filled on a device as in a file.
func TestSignDevice(t *testing.T) {
	root, dir := diskTree(t), t.TempDir()
	key, cert := signKeys(t, dir)
	o := diskOptions(t, dir, root, disk.VerityDefer)
	diskBuild(t, o)
	device := strings.TrimSpace(must(t, exec.Command("losetup", "--find", "--show", o.Path)))
	t.Cleanup(func() { must(t, exec.Command("losetup", "--detach", device)) })
	must(t, mkosi(dir, "--verity-key", key, "--verity-certificate", cert, "sign", device))
	if n := len(partitions(t, o.Path)); n != 3 {
		t.Errorf("%d partitions", n)
	}
	if info, err := os.Stat(device); err != nil || info.Mode()&os.ModeDevice == 0 {
		t.Errorf("the device is now %v, %v", info, err)
	}
}
