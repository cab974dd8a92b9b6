package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/verity"
	"github.com/mkosi-go/mkosi/internal/keys"
)

// ourselves is the first argument of the process that is measured.
const ourselves = "measured"

// ours does what is measured of this project.
func ours(ctx context.Context, args []string) error {
	switch {
	case len(args) == 3 && args[0] == "image":
		return writeImage(ctx, args[1], args[2])
	case len(args) == 3 && args[0] == "verity":
		return writeVerity(ctx, args[1], args[2])
	}
	return fmt.Errorf("unexpected arguments %q", args)
}

// writeImage makes the image of the definitions and the tree in dir.
func writeImage(ctx context.Context, dir, image string) error {
	defs, err := repart.ParseDefinitions(os.DirFS(filepath.Join(dir, "definitions")), "x86-64")
	if err != nil {
		return err
	}
	key, cert, err := keys.LoadPair(filepath.Join(dir, "key"), filepath.Join(dir, "crt"))
	if err != nil {
		return err
	}
	_, err = disk.Build(ctx, disk.Options{
		Path: image, Definitions: defs, Root: filepath.Join(dir, "tree"), Seed: uuid.MustParse(seed), Key: key, Certificate: cert,
	})
	return err
}

// writeVerity writes the verity hashes of a file.
func writeVerity(ctx context.Context, data, image string) (err error) {
	in, err := os.Open(data)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(image)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	salt := make([]byte, 32)
	for i := range salt {
		salt[i] = 0xab
	}
	_, err = verity.Write(ctx, in, fi.Size(), out, verity.Params{UUID: uuid.MustParse(seed), Salt: salt})
	return err
}

// random fills a new file with bytes that do not compress, the same each time. A child's largest size is at least that of
// its parent when it is started, so this keeps little in memory.
func random(path string, size int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), size)
	return err
}
