package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/resources"
)

// unsignedImage is the command "unsigned IMAGE SIGNATURE KEY CERTIFICATE" of scripts: it makes an extension image
// that lacks its signature, sets $ROOTHASH to its root hash, and signs that with a key that is there.
func unsignedImage(ts *testscript.TestScript, _ bool, args []string) {
	var paths []string
	for _, arg := range args {
		paths = append(paths, ts.MkAbs(arg))
	}
	files, err := resources.Repart("sysext")
	ts.Check(err)
	defs, err := repart.ParseDefinitions(files, "x86-64")
	ts.Check(err)
	plan, err := disk.PlanVerity(defs, disk.VerityDefer, false)
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs("tree/usr"), 0o755))
	r, err := disk.Build(context.Background(), disk.Options{
		Path: paths[0], Definitions: plan.Definitions, Defer: plan.Defer, Root: ts.MkAbs("tree"),
		Seed: uuid.MustParse("6f0b6a3e-4ac0-4d0b-9d2f-3b4a35b7a9c1"),
	})
	ts.Check(err)
	root := r.Partitions[0].RootHash
	ts.Setenv("ROOTHASH", hex.EncodeToString(root))
	key, cert, err := keys.LoadPair(paths[2], paths[3])
	ts.Check(err)
	der, err := keys.SignPKCS7Detached(key, cert, verity.SignedText(root))
	ts.Check(err)
	ts.Check(os.WriteFile(paths[1], der, 0o644))
}

func TestParseJoined(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/sig", []byte("DER"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/large", make([]byte, maxJoinedSize+1), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"00ff:sig", "00FF:base64:REVS", "00ff:" + dir + "/sig"} {
		j, err := parseJoined(text, dir)
		if err != nil || string(j.RootHash) != "\x00\xff" || string(j.DER) != "DER" {
			t.Errorf("%s: %+v, %v", text, j, err)
		}
	}
	for text, want := range map[string]string{
		"00ff":             "is not HASH:SIGNATURE",
		"00ff:":            "is not HASH:SIGNATURE",
		":sig":             "is not a root hash",
		"0g:sig":           "is not a root hash",
		"00ff:base64:!":    "is not that",
		"00ff:large":       "no file of at most",
		"00ff:.":           "no file of at most",
		"00ff:/dev/zero":   "no file of at most",
		"00ff:missing.p7s": "no such file",
	} {
		_, err := parseJoined(text, dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		var usage *config.Error
		if errors.As(err, &usage) != (text != "00ff:missing.p7s") {
			t.Errorf("%s: %T", text, err)
		}
	}
}
