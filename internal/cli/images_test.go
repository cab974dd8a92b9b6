package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// imageCommands are commands of scripts that make images.
func imageCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){"disk-image": diskImage, "flip-byte": flipByte}
}

// diskImage makes a disk: disk-image FILE DEFINITIONS TREE [DIRECTORY], the last with the key that signs.
func diskImage(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: disk-image FILE DEFINITIONS TREE [DIRECTORY]")
	}
	definitions, err := repart.ParseDefinitions(os.DirFS(ts.MkAbs(args[1])), "x86-64")
	ts.Check(err)
	epoch := int64(1700000000)
	o := disk.Options{
		Path: ts.MkAbs(args[0]), Definitions: definitions, Root: ts.MkAbs(args[2]), SourceDateEpoch: &epoch,
		Seed: uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6"),
	}
	if len(args) > 3 {
		dir := ts.MkAbs(args[3])
		o.Key, o.Certificate, err = keys.LoadPair(filepath.Join(dir, "mkosi.key"), filepath.Join(dir, "mkosi.crt"))
		ts.Check(err)
	}
	_, err = disk.Build(context.Background(), o)
	ts.Check(err)
}

// flipByte changes the first byte of a text in a file: flip-byte FILE TEXT.
func flipByte(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	at := bytes.Index(b, []byte(args[1]))
	if at < 0 {
		ts.Fatalf("%q is not in %s", args[1], args[0])
	}
	b[at] ^= 1
	ts.Check(os.WriteFile(path, b, 0o644))
}
