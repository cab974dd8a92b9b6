// Command sandboxprobe enters a session and gives a file to another user, itself
// and by a command in a sandbox.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/mkosi-go/mkosi/internal/sandbox"
)

func main() {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string) error {
	if err := sandbox.EnterSession(); err != nil {
		return err
	}
	s := sandbox.Current()
	fmt.Printf("user namespace %t, single user %t%s\n", s.UserNamespace, s.SingleUser, s.Reason)
	if err := os.WriteFile(dir+"/own", nil, 0o644); err != nil {
		return err
	}
	if err := os.Lchown(dir+"/own", 1, 65534); err != nil {
		return err
	}
	c := sandbox.Cmd{
		Args:   []string{"sh", "-c", "touch /x/cmd && chown 1:65534 /x/cmd && stat -c %u:%g /x/own /x/cmd"},
		Env:    []string{"PATH=/usr/bin:/bin"},
		Ops:    append(sandbox.HostUsr(), sandbox.Bind(dir, "/x")),
		Stdout: os.Stdout,
	}
	return c.Run(context.Background())
}
