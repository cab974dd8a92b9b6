package build

import (
	"fmt"
	"strings"

	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/shellwords"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// keptPrefix begins the names of directories that --debug-workspace keeps.
const keptPrefix = "mkosi-workspace-"

// keep keeps a staging directory for the person at the keyboard, and says where it is.
func (b *Builder) keep(image string, s *tree.Staging) error {
	path, err := s.Keep(keptPrefix)
	if err == nil {
		b.UI.Infof(image, "kept %s, which has to be removed by hand", path)
	}
	return err
}

// describe writes a command's sandbox as text: the command, how its root directory is made, a line for each operation,
// and what else is special. Of the environment only the names are shown; values may be secrets.
func describe(c *sandbox.Cmd) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sandbox of %s\n", shellwords.Join(c.Args))
	for _, op := range c.Ops {
		fmt.Fprintf(&b, "  %s\n", op)
	}
	var names, flags []string
	for _, e := range c.Env {
		name, _, _ := strings.Cut(e, "=")
		names = append(names, name)
	}
	for _, f := range []struct {
		name string
		on   bool
	}{
		{"network of the host", c.Network}, {"user namespace of its own", c.Confine}, {"chown suppressed", c.SuppressChown}, {"sync suppressed", c.SuppressSync},
		{fmt.Sprintf("%d capabilities dropped", len(c.DropCapabilities)), len(c.DropCapabilities) > 0},
	} {
		if f.on {
			flags = append(flags, f.name)
		}
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	fmt.Fprintf(&b, "  in the directory %s; %s\n  environment: %s", dir, strings.Join(flags, ", "), strings.Join(names, " "))
	return b.String()
}
