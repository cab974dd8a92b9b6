package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/mkosi-go/mkosi/internal/machine/agent"
	"github.com/mkosi-go/mkosi/internal/machine/console"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// maxJournal is how many bytes of a journal are kept.
const maxJournal = 256 << 20

// createLog makes a file for what a guest says, which is for its user only, in place of an earlier one.
func createLog(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// journalLog is the file for the journal of a guest. It gets the lines as they are written, for a guest that does not live
// until the end, and in the end the whole journal at once, in which the last lines are as well.
type journalLog struct {
	path string
	file *os.File
	err  error // of receive
}

func newJournalLog(path string) (*journalLog, error) {
	f, err := createLog(path)
	return &journalLog{path: path, file: f}, err
}

// receive writes what comes from the guest until the machine has ended. It drops the rest where it cannot: the guest
// would wait.
func (j *journalLog) receive(conn net.Conn) {
	to := console.Limited(console.Plain(j.file), maxJournal)
	_, err := io.Copy(to, conn)
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) { // of the file; the connection ends as it will
		j.err = err
		_, _ = io.Copy(io.Discard, conn)
	}
}

// complete puts the whole journal, for which the guest is asked, into the place of what has come so far.
func (j *journalLog) complete(ctx context.Context, guest *agent.Client) (err error) {
	staging, err := tree.Stage(ctx, filepath.Dir(j.path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, staging.Close()) }()
	f, err := createLog(staging.Path("journal"))
	if err != nil {
		return err
	}
	err = errors.Join(guest.Journal(ctx, console.Limited(console.Plain(f), maxJournal)), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	return err
}

// close closes the file when the machine has ended, and returns its path, or "" if nothing came from the guest.
func (j *journalLog) close() (path string, err error) {
	if err := errors.Join(j.err, j.file.Close()); err != nil {
		return "", err
	}
	info, err := os.Stat(j.path)
	if err == nil && info.Size() == 0 {
		return "", os.Remove(j.path)
	}
	if err != nil {
		return "", fmt.Errorf("looking for what was kept: %w", err)
	}
	return j.path, nil
}

// kept says what there is to read after a guest that did not live until the end.
func (r *testRun) kept() string {
	text := "what the guest printed is in " + r.app.short(r.report.ConsoleLog)
	if r.report.Journal == "" {
		return text + "; no journal came from it"
	}
	return text + ", its journal until then in " + r.app.short(r.report.Journal)
}
