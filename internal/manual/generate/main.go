// Command generate writes the manual pages and the schema of the JSON summary into a directory.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/manual"
)

func main() {
	if err := generate(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func generate(dir string) error {
	files, err := manual.Files()
	if err != nil {
		return fmt.Errorf("making the manual: %w", err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
