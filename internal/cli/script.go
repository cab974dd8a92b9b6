package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/mkosi-go/mkosi/internal/sandbox"
	"github.com/mkosi-go/mkosi/internal/script"
)

// ScriptCommand is the whole life of this program when a life-cycle script calls it as the command name, such as
// mkosi-chroot: see [script.Invoked]. It returns the exit code, which is that of what the command runs.
func ScriptCommand(name string, args []string) int {
	received := receiveSignals(lastResort)
	defer received.close()
	err := script.Run(received.ctx, name, args)
	var exit *sandbox.ExitError
	if err != nil && !errors.As(err, &exit) {
		// What the user sees are lines of the script.
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	return script.ExitCode(err)
}
