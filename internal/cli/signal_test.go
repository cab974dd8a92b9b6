package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
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
	received := receiveSignals(100 * time.Millisecond)
	fmt.Println("ready")
	<-received.ctx.Done()
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

// gentleEnv makes this binary a program that wants to be told twice.
const gentleEnv = "MKOSI_TEST_GENTLE"

func init() {
	if os.Getenv(gentleEnv) == "" {
		return
	}
	received := receiveSignals(time.Minute)
	received.askFirst()
	fmt.Println("ready")
	<-received.ctx.Done()
	if received.urgent.Err() != nil {
		fmt.Println("urgent at once")
		os.Exit(1)
	}
	fmt.Println("asked")
	<-received.urgent.Done()
	var cause signalError
	errors.As(context.Cause(received.urgent), &cause)
	fmt.Println("urgent", int(cause.signal))
	os.Exit(0)
}

// What ends well if it has the time gets the time until a second signal. The hangups of a terminal are one.
func TestSecondSignalIsUrgent(t *testing.T) {
	for _, tt := range []struct {
		first, then []syscall.Signal
		want        string
	}{
		{[]syscall.Signal{syscall.SIGTERM}, []syscall.Signal{syscall.SIGTERM}, "urgent 15"},
		{[]syscall.Signal{syscall.SIGINT}, []syscall.Signal{syscall.SIGHUP, syscall.SIGINT}, "urgent 2"},
		{[]syscall.Signal{syscall.SIGHUP}, []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGTERM}, "urgent 15"},
	} {
		if slices.ContainsFunc(slices.Concat(tt.first, tt.then), func(s syscall.Signal) bool { return signal.Ignored(s) }) {
			continue // as nohup(1) asks for
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), gentleEnv+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		expect := func(want string) {
			if line, err := lines.ReadString('\n'); err != nil || line != want+"\n" {
				t.Errorf("%v then %v: got %q, %v, want %q", tt.first, tt.then, line, err, want)
			}
		}
		send := func(signals []syscall.Signal) {
			for _, s := range signals {
				if err := cmd.Process.Signal(s); err != nil {
					t.Error(err)
				}
			}
		}
		expect("ready")
		send(tt.first)
		expect("asked")
		send(tt.then)
		expect(tt.want)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}
