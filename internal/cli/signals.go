package cli

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return "interrupted (" + e.signal.String() + ")" }

// lastResort is how long the program may take to end by itself after a signal. Commands are killed long before; this is for
// what nobody can cancel, such as a file system that does not answer.
const lastResort = 5 * time.Second

// signals are those that end the program: the usual ones of terminals and service managers.
type signals struct {
	ctx    context.Context // done at the first
	urgent context.Context // done at the same time, unless askFirst was called: then at the second
	end    context.CancelCauseFunc
	hurry  context.CancelCauseFunc

	ch       chan os.Signal
	patience time.Duration
	gentle   atomic.Bool // askFirst was called
	asked    atomic.Bool // somebody wants the program to end
}

// receiveSignals receives signals until close is called. After the one that the program should end at, the next, unless it
// is a hangup, kills it at once, and without that this one does after a while.
func receiveSignals(patience time.Duration) *signals {
	s := &signals{ch: make(chan os.Signal, 8), patience: patience}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	s.urgent, s.hurry = context.WithCancelCause(context.Background())
	signal.Notify(s.ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go s.receive()
	return s
}

// close leaves signals to the kernel.
func (s *signals) close() {
	signal.Stop(s.ch)
	s.end(nil)
	s.hurry(nil)
}

// askFirst has the first signal end ctx only, for work that takes its time to end well.
func (s *signals) askFirst() { s.gentle.Store(true) }

// asking says that the program is about to end without a signal, so that the next one is the second.
func (s *signals) asking() { s.asked.Store(true) }

func (s *signals) receive() {
	for sig := range s.ch {
		cause := signalError{sig.(syscall.Signal)}
		s.end(cause)
		// The end of a terminal, or of a login, brings several hangups at once, and behind none of them is somebody in a hurry.
		if again := s.asked.Swap(true) && sig != syscall.SIGHUP; s.gentle.Load() && !again {
			continue
		}
		signal.Reset(syscall.SIGINT, syscall.SIGTERM)
		s.hurry(cause)
		time.Sleep(s.patience)
		signal.Reset(cause.signal)
		_ = syscall.Kill(os.Getpid(), cause.signal)
	}
}
