// Command mkosi builds operating system images.
package main

import (
	"os"

	"github.com/mkosi-go/mkosi/internal/cli"
	"github.com/mkosi-go/mkosi/internal/sandbox"
)

func main() {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	os.Exit(cli.Main(os.Args[1:]))
}
