// Command mkosi builds operating system images.
package main

import (
	"os"

	"github.com/mkosi-go/mkosi/internal/cli"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
)

func main() {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	if name, ok := script.Invoked(); ok {
		os.Exit(cli.ScriptCommand(name, os.Args[1:]))
	}
	os.Exit(cli.Main(os.Args[1:]))
}
