// Command sandboxprobe enters a session and gives a file to another user, itself
// and by a command in a sandbox. Called with "stage" or "die" as well, it makes
// a staging directory with other users' files; "die" leaves it behind.
package main

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/tree"
)

func main() {
	if sandbox.Reexecuted() {
		sandbox.Main()
	}
	probe := run
	if len(os.Args) > 2 {
		probe = stage
	}
	if err := probe(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func stage(dir string) error {
	if err := sandbox.EnterSession(); err != nil {
		return err
	}
	s, err := tree.Stage(context.Background(), dir)
	if err != nil {
		return err
	}
	sub := s.Path("dir")
	for _, err := range []error{
		os.Mkdir(sub, 0o700),
		os.WriteFile(sub+"/file", nil, 0),
		os.Lchown(sub+"/file", 5, 5),
		os.Lchown(sub, 1, 1),
		os.Chmod(sub, 0),
	} {
		if err != nil {
			return err
		}
	}
	if os.Args[2] == "die" {
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return s.Close()
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
