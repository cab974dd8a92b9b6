package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mkosi-go/mkosi/internal/machine"
)

const (
	// shutdownLimit is how long a guest may take to shut down, as long as a service manager would wait for this process by
	// default. Who has closed a terminal does not wait for it, and who does can end it.
	shutdownLimit = 90 * time.Second
	// askEvery is how often a guest is asked: while it boots, nobody in it hears of it.
	askEvery = 5 * time.Second
	// startLimit is how long a machine that is being started may take until its guest can be asked. There is nothing to lose
	// in it yet.
	startLimit = 2 * time.Second
)

// runMachine runs a machine, and ends it when ctx is done: at once if nothing in it lasts, else well. Its guest is asked to
// shut down then, and the machine ends at once only when that takes too long or a second signal comes.
func (a *app) runMachine(ctx context.Context, m *machine.Machine) (status int, err error) {
	if !m.KeepsChanges() {
		return m.Run(ctx)
	}
	// A write to a pipe that nobody reads would kill this process.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	a.signals.askFirst()
	running, end := context.WithCancelCause(a.signals.urgent)
	defer end(nil)
	stop := context.AfterFunc(ctx, func() { a.shutDown(running, end, m, context.Cause(ctx)) })
	defer stop()
	return m.Run(running)
}

// shutDown asks a guest to shut down until the machine has ended, which end does with a cause if it does not itself.
func (a *app) shutDown(running context.Context, end context.CancelCauseFunc, m *machine.Machine, cause error) {
	a.signals.asking()
	image := a.cfg.Main().Image
	limit := time.AfterFunc(shutdownLimit, func() {
		a.ui.Warnf(image, "the guest has not shut down within %v, and is ended", shutdownLimit)
		end(cause)
	})
	defer limit.Stop()
	starting, cancel := context.WithTimeout(running, startLimit)
	defer cancel()
	err := m.PowerDown(starting)
	if err == nil {
		a.ui.Infof(image, "the guest is asked to shut down, for which it has %v; a second signal ends it at once", shutdownLimit)
	}
	for err == nil {
		select {
		case <-running.Done():
			return
		case <-time.After(askEvery):
			err = m.PowerDown(running)
		}
	}
	a.ui.Debugf(image, "the guest cannot be asked to shut down: %v", err)
	end(cause)
}
