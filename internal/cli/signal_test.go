package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// stuckEnv makes this binary a program that does not end when its context does.
const stuckEnv = "MKOSI_TEST_STUCK"

func init() {
	if os.Getenv(stuckEnv) == "" {
		return
	}
	ctx, _ := signalContext(100 * time.Millisecond)
	fmt.Println("ready")
	<-ctx.Done()
	time.Sleep(time.Minute)
	os.Exit(1)
}

// A signal ends the program even where nothing can be cancelled.
func TestSignalEndsWhatIsStuck(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(sig) {
			continue // as nohup(1) asks for
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), stuckEnv+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != sig {
			t.Errorf("after %v the program ended with %v", sig, err)
		}
	}
}
