package disk

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// RunProgram runs a program of the host with a minimal environment. Its error
// has the last lines of what the program said.
func RunProgram(ctx context.Context, argv, env []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if path := findProgram(argv[0]); path != "" {
		cmd.Path, cmd.Err = path, nil
	}
	cmd.Env = append([]string{"PATH=" + programPath, "LC_ALL=C"}, env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w%s", argv[0], err, lastLines(out))
}

// programPath is where programs are looked for: a user's PATH often lacks the
// folders of those for the administrator.
const programPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func findProgram(name string) string {
	for dir := range strings.SplitSeq(programPath, ":") {
		if path, err := exec.LookPath(dir + "/" + name); err == nil {
			return path
		}
	}
	return ""
}

// lastLines is the end of a program's output, to follow an error.
func lastLines(out []byte) string {
	const limit = 10
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	if len(lines) > limit {
		lines = lines[len(lines)-limit:]
	}
	text := strings.Join(lines, "\n")
	if text == "" {
		return ""
	}
	return ":\n" + text
}
