package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// waitDelay is how long the output of a program that has ended is still read,
// where a process that it left behind holds it open.
const waitDelay = time.Second

// Output runs a program without arguments in its own directory and returns
// what it wrote to its standard output. It is for small programs of the
// user's that print a value, such as an executable mkosi.version. What a
// process that it leaves behind has to say is not waited for.
func Output(ctx context.Context, path string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path)
	cmd.Dir = filepath.Dir(path)
	cmd.WaitDelay = waitDelay
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); lines[len(lines)-1] != "" {
			return nil, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
		}
		return nil, err
	}
	return out, nil
}
