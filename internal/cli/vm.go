package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine"
	"github.com/mkosi-go/mkosi/internal/machine/console"
	"github.com/mkosi-go/mkosi/internal/machine/notify"
)

// vm runs the image as a virtual machine. It is built first with --force only. The guest's exit status, if it says one,
// becomes that of the program.
func (a *app) vm(ctx context.Context) (err error) {
	if err := a.buildToRun(ctx); err != nil {
		return err
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	screen, done, err := a.console(leave)
	if err != nil {
		return err
	}
	defer done()
	m, err := machine.New(a.cfg.Main(), machine.Options{Dir: a.cfg.Dir, Host: a.host, Args: a.cfg.VerbArgs, Console: screen, UI: a.ui})
	if err != nil {
		return err
	}
	if err := m.Notify(&notify.Receiver{}); err != nil {
		return err
	}
	withdraw, err := a.offer(a.cfg.Main(), m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, withdraw()) }()
	status, err := m.Run(ctx)
	switch {
	case errors.Is(context.Cause(ctx), errLeft):
		return nil
	case err == nil && status != 0:
		return commandExit(status)
	}
	return err
}

// buildToRun builds the image if --force is given, and says what to do if it is not there, or cannot be run.
func (a *app) buildToRun(ctx context.Context) error {
	if err := machine.Check(a.cfg.Main()); err != nil {
		return err
	}
	if a.cfg.Options.Force > 0 {
		if err := a.build(ctx); err != nil {
			return err
		}
		a.ui.Close()
	}
	main := a.cfg.Main()
	_, err := os.Stat(main.OutputPath(a.cfg.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("image %s is not built yet", main.Image)
		return &hintError{err, "build it with mkosi build, or add --force to build it now"}
	}
	return err
}

// errLeft ends a machine whose console the user has left.
var errLeft = errors.New("the console was left")

// console is the console of a machine on the streams of this process, as Console= has it. leave is called with errLeft
// when the user leaves it, done is to be called when the machine has ended.
func (a *app) console(leave context.CancelCauseFunc) (c machine.Console, done func(), err error) {
	done = func() {}
	mode := a.cfg.Main().Console
	if mode == config.ConsoleGUI || mode == config.ConsoleHeadless {
		return c, done, nil
	}
	c = machine.Console{Input: os.Stdin, Output: os.Stdout, Terminal: machine.Terminal{Name: "dumb"}}
	if a.cfg.Main().VirtualMachineMonitor == config.MonitorVmspawn {
		return c, done, nil // it has the same kinds of console itself
	}
	if console.IsTerminal(os.Stdout) {
		c.Terminal.Name = a.host.Environment["TERM"]
		c.Terminal.Columns, c.Terminal.Rows = console.Size(os.Stdout)
	}
	switch mode {
	case config.ConsoleReadOnly:
		c.Input = nil
	case config.ConsoleInteractive:
		attached, err := console.Attach(os.Stdin, os.Stdout)
		if err != nil {
			return c, done, err
		}
		c.Input, c.Output, done = attached.Input, attached.Output, attached.Close
		go func() {
			<-attached.Left()
			leave(errLeft)
		}()
	}
	return c, done, nil
}
