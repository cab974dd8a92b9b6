package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// lockOutputs makes the output directories of a plan and keeps other builds out of them until unlock is called: an image
// must not lose its base tree to another build of the same configuration. The lock is on the directories themselves, so
// that it leaves nothing behind, whatever happens.
func (b *Builder) lockOutputs(ctx context.Context, plan *Plan) (unlock func(), err error) {
	var dirs []string
	for _, job := range plan.Jobs {
		if job.Skip == "" {
			dirs = append(dirs, job.Image.OutputDir(b.Config.Dir))
		}
	}
	// In one order, so that two builds do not wait for each other.
	slices.Sort(dirs)
	var locks []*os.File
	unlock = func() {
		for _, f := range locks {
			f.Close()
		}
	}
	for _, dir := range slices.Compact(dirs) {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			unlock()
			return nil, fmt.Errorf("creating the output directory: %w", err)
		}
		f, err := b.lock(ctx, dir)
		if err != nil {
			unlock()
			return nil, fmt.Errorf("locking the output directory: %w", err)
		}
		locks = append(locks, f)
	}
	return unlock, nil
}

// lock waits until nobody else has a directory locked, and locks it for as long as the returned file is open.
func (b *Builder) lock(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	for waited := false; ; waited = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, &os.PathError{Op: "flock", Path: dir, Err: err}
		}
		if !waited {
			b.UI.Infof("", "waiting for another build in %s", dir)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
