package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mkosi-go/mkosi/internal/ui"
)

// stateLogin is the state of a guest that is known by its login prompt only.
const stateLogin = "login"

// silence is how long after the login prompt the agent, which should have been there before it, is waited for.
const silence = time.Minute

// errSlow is why a guest is not waited for any longer.
var errSlow = errors.New("that took longer than --timeout allows")

// await waits until the guest has booted, and shows how far it is.
func (r *testRun) await(ctx context.Context) (err error) {
	step := r.app.ui.Begin(r.image, "booting")
	defer func() { step.End(err) }()
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, r.limit, errSlow)
	defer cancel()
	greeted := make(chan struct{}, 1)
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	go r.watchConsole(waiting, greeted, giveUp, step)
	state, err := r.guest.Boot(waiting, func(state string) {
		if state == "hello" {
			greeted <- struct{}{}
			return
		}
		step.Note("%s", state)
	})
	r.report.BootSeconds = time.Since(begun).Round(time.Millisecond).Seconds()
	switch {
	case errors.Is(err, errSilentLogin) && len(r.tests.Files) == 0:
		r.report.State = stateLogin
		return nil
	case err != nil:
		return fmt.Errorf("booting: %w", err)
	case state == "maintenance":
		return errors.New("booting: the guest ended in a rescue shell")
	case state == "stopping":
		return errors.New("booting: the guest goes down again")
	}
	r.report.State = state
	if state != "degraded" {
		return nil
	}
	if r.report.FailedUnits, err = r.guest.FailedUnits(ctx); err != nil {
		return err
	}
	r.app.ui.Warnf(r.image, "units failed while it booted: %s", strings.Join(r.report.FailedUnits, ", "))
	return nil
}

// errSilentLogin is why the agent is not waited for any longer.
var errSilentLogin = &hintError{errors.New("the guest asks for a login, and takes no units that are passed to it"),
	"tests need systemd 256 or newer in the image and a kernel with the module virtio_console"}

// watchConsole gives up waiting for the agent of a guest that has come up without it, or has not come up.
func (r *testRun) watchConsole(ctx context.Context, greeted <-chan struct{}, giveUp context.CancelCauseFunc, step *ui.Step) {
	var late <-chan time.Time
	login := r.watch.Login()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-r.watch.Trouble():
			giveUp(err)
		case <-greeted:
			login, late = nil, nil
		case <-login:
			step.Note("login prompt")
			login, late = nil, time.After(silence)
		case <-late:
			giveUp(errSilentLogin)
		}
	}
}
