// Command mkosi builds operating system images. Called mkosi-sandbox, it runs commands in a sandbox.
package main

import (
	"os"

	"github.com/mkosi-go/mkosi/internal/cli"
	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/sandbox/program"
	"github.com/mkosi-go/mkosi/internal/script"
)

func main() {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	if name, ok := script.Invoked(); ok {
		os.Exit(cli.ScriptCommand(name, os.Args[1:]))
	}
	if program.Invoked(os.Args[0]) {
		os.Exit(cli.Sandbox(os.Args))
	}
	os.Exit(cli.Main(os.Args[1:]))
}
