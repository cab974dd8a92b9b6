package host

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Output runs a program without arguments in its own directory and returns
// what it wrote to its standard output. It is for small programs of the
// user's that print a value, such as an executable mkosi.version.
func Output(ctx context.Context, path string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir = filepath.Dir(path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); lines[len(lines)-1] != "" {
			return nil, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
		}
		return nil, err
	}
	return out, nil
}
