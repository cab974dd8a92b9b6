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
	"github.com/mkosi-go/mkosi/internal/efi/pe/petest"
	"github.com/mkosi-go/mkosi/internal/keys"
	"github.com/mkosi-go/mkosi/resources"
)

// imageCommands are commands of scripts that make images.
func imageCommands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"disk-image": diskImage, "flip-byte": flipByte, "program": makeProgram, "unsigned": unsignedImage,
	}
}

// diskImage makes a disk: disk-image FILE TREE has an ESP with what is in efi of the tree, and an empty partition;
// with a directory behind it, what is in usr and its hashes, signed with the key in the directory.
func diskImage(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: disk-image FILE TREE [DIRECTORY]")
	}
	epoch, size := int64(1700000000), uint64(1<<20)
	o := disk.Options{
		Path: ts.MkAbs(args[0]), Root: ts.MkAbs(args[1]), SourceDateEpoch: &epoch, SectorSize: 512,
		Seed: uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6"),
	}
	if len(args) > 2 {
		files, err := resources.Repart("sysext")
		ts.Check(err)
		definitions, err := repart.ParseDefinitions(files, "x86-64")
		ts.Check(err)
		plan, err := disk.PlanVerity(definitions, disk.VeritySigned, true)
		ts.Check(err)
		o.Definitions, o.Defer = plan.Definitions, plan.Defer
		dir := ts.MkAbs(args[2])
		o.Key, o.Certificate, err = keys.LoadPair(filepath.Join(dir, "mkosi.key"), filepath.Join(dir, "mkosi.crt"))
		ts.Check(err)
	} else {
		esp, err := repart.ParsePartitionType("esp", "")
		ts.Check(err)
		generic, err := repart.ParsePartitionType("linux-generic", "")
		ts.Check(err)
		o.Definitions = []repart.Definition{
			{File: "10-esp.conf", Type: esp, Format: repart.FormatVFAT, CopyFiles: []repart.CopyFiles{{Source: "/efi", Target: "/"}}, SizeMin: &size, SizeMax: &size},
			{File: "20-scratch.conf", Type: generic, Label: "scratch", SizeMin: &size, SizeMax: &size},
		}
	}
	_, err := disk.Build(context.Background(), o)
	ts.Check(err)
}

// makeProgram makes a program for firmware: program FILE.
func makeProgram(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), petest.Program(petest.Section{Name: ".text", Text: "text"}), 0o644))
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
