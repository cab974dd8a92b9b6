package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine"
	"github.com/mkosi-go/mkosi/internal/machine/agent"
	"github.com/mkosi-go/mkosi/internal/machine/console"
	"github.com/mkosi-go/mkosi/internal/machine/suite"
)

// testRun is one boot of an image for its tests.
type testRun struct {
	app     *app
	image   string // its name
	tests   *suite.Suite
	limit   time.Duration
	machine *machine.Machine
	report  tested

	log     *os.File // the console
	watch   *console.Watch
	guest   *agent.Client
	journal *journalLog
}

// newTestRun plans the machine and opens its console log, which close closes.
func (a *app) newTestRun(main *config.Image, tests *suite.Suite) (_ *testRun, err error) {
	img := *main
	img.Ephemeral, img.Console = true, config.ConsoleHeadless
	// There is one limit, and a busy machine that emulates another one is no reason for systemd to give up before it.
	img.KernelCommandLineExtra = append(slices.Clone(img.KernelCommandLineExtra),
		fmt.Sprintf("systemd.default_device_timeout_sec=%d", a.cfg.Options.Timeout), fmt.Sprintf("systemd.default_timeout_start_sec=%d", a.cfg.Options.Timeout))
	logs := filepath.Join(img.OutputDir(a.cfg.Dir), img.Output)
	r := &testRun{app: a, image: img.Image, tests: tests, limit: time.Duration(a.cfg.Options.Timeout) * time.Second,
		watch: console.NewWatch(),
		report: tested{Image: img.OutputPath(a.cfg.Dir), FailedUnits: []string{}, Tests: []suite.Result{},
			ConsoleLog: logs + ".console.log"}}
	if r.log, err = createLog(r.report.ConsoleLog); err != nil {
		return nil, fmt.Errorf("keeping the console of the guest: %w", err)
	}
	if r.journal, err = newJournalLog(logs + ".journal.log"); err != nil {
		return nil, errors.Join(fmt.Errorf("keeping the journal of the guest: %w", err), r.log.Close())
	}
	printed := io.MultiWriter(console.Limited(console.Plain(r.log), console.MaxLog), r.watch)
	r.machine, err = machine.New(&img, machine.Options{Dir: a.cfg.Dir, Host: a.host, UI: a.ui, Console: machine.Console{Output: printed}})
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	for name, value := range agent.GuestCredentials() {
		r.machine.AddCredential(name, value)
	}
	var ports [3]*port
	for i, name := range []string{agent.ControlPort, agent.OutputPort, agent.ErrorPort} {
		ports[i] = newPort()
		r.machine.AddPort(machine.Port{Name: name, Serve: ports[i].serve})
	}
	r.machine.AddPort(machine.Port{Name: agent.LogPort, Serve: r.journal.receive})
	r.guest = agent.New(agent.Ports{Control: ports[0], Output: ports[1], Error: ports[2]}, rand.Reader)
	return r, nil
}

// port is a port of the guest that can be used before the machine is there, and is at its end when the machine is.
type port struct {
	*io.PipeReader
	writer *io.PipeWriter
	conn   chan net.Conn // holds it, once it is there
}

func newPort() *port {
	p := &port{conn: make(chan net.Conn, 1)}
	p.PipeReader, p.writer = io.Pipe()
	return p
}

// serve passes on what the guest sends, until the machine ends or the port is closed.
func (p *port) serve(conn net.Conn) {
	p.conn <- conn
	_, err := io.Copy(p.writer, conn)
	p.writer.CloseWithError(err)
}

// Write sends to the guest.
func (p *port) Write(data []byte) (int, error) {
	conn := <-p.conn
	p.conn <- conn
	return conn.Write(data)
}

// Close closes both directions.
func (p *port) Close() error {
	err := p.PipeReader.Close()
	select {
	case conn := <-p.conn:
		err = errors.Join(err, conn.Close())
		p.conn <- conn
	default:
	}
	return err
}

// close closes the logs, and says in the report whether there is a journal.
func (r *testRun) close() error {
	var err error
	if r.report.Journal, err = r.journal.close(); err != nil {
		err = fmt.Errorf("keeping the journal of the guest: %w", err)
	}
	if logErr := r.log.Close(); logErr != nil {
		err = errors.Join(err, fmt.Errorf("keeping the console of the guest: %w", logErr))
	}
	return err
}

// errTested ends the machine when everything has been done.
var errTested = errors.New("the tests are done")

// boot runs the machine, and the tests in it.
func (r *testRun) boot(ctx context.Context) error {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan error, 1)
	go func() {
		_, err := r.machine.Run(running)
		stop(errEnded)
		ended <- err
	}()
	err := r.talk(running)
	// Closing fails where the machine has closed the ports already.
	_ = r.guest.Close()
	stop(errTested)
	machineErr := <-ended
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case machineErr != nil && !errors.Is(machineErr, errTested):
		return machineErr // it says more than that the guest is gone
	}
	return err
}

// errEnded is why there is nobody to talk with any more.
var errEnded = errors.New("the guest has ended")

// talk waits for the guest and has it run the tests.
func (r *testRun) talk(ctx context.Context) error {
	if err := r.await(ctx); err != nil {
		return err
	}
	if r.report.State == stateLogin {
		r.report.Passed = true
		return nil
	}
	results, err := r.tests.Run(ctx, r.guest, r.limit, r.app.observer(r.image))
	if results != nil {
		r.report.Tests = results
	}
	if err != nil {
		return err
	}
	r.report.Passed = passed(results)
	ctx, cancel := context.WithTimeoutCause(ctx, r.limit, errSlow)
	defer cancel()
	if err := r.journal.complete(ctx, r.guest); err != nil {
		return fmt.Errorf("keeping the journal of the guest: %w", err)
	}
	return nil
}

func passed(results []suite.Result) bool {
	for _, t := range results {
		if !t.Passed {
			return false
		}
	}
	return true
}
