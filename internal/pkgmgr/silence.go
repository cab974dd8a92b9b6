package pkgmgr

import (
	"bytes"
	"context"
	"errors"
	"regexp"
)

// update runs apt-get update and gives up on the first file that a mirror
// does not send. apt itself would wait for each of the others in turn, only
// to fail at the end.
func (a *Apt) update(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := a.aptGet(ctx, aptRun{
		args:   []string{"update"},
		update: true,
		// A silent mirror is asked twice even so.
		options: append([]string{"Acquire::Retries=0"}, noCache...),
		network: true,
		stdout:  &listener{silent: stop},
	})
	if told := (*Error)(nil); errors.As(context.Cause(ctx), &told) {
		return told
	}
	return err
}

// silence is what apt prints of a file that it has stopped waiting for.
var silence = regexp.MustCompile(`(?m)^Err:\d+ (.*)\n +(Connection failed.*|.*connection timed out.*|Connection timed out.*)\n`)

// listener reads apt's output and reports a silent mirror.
type listener struct {
	silent context.CancelCauseFunc
	buf    []byte
}

func (l *listener) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	if m := silence.FindSubmatch(l.buf); m != nil {
		l.silent(&Error{
			Msg:  "cannot download " + redact(string(m[1])) + ": the mirror does not answer: " + redact(string(m[2])),
			hint: mirrorHint,
		})
	}
	// The file and what is the matter with it are two lines.
	if over := len(l.buf) - transcriptSize; over > 0 {
		l.buf = bytes.Clone(l.buf[over:])
	}
	return len(p), nil
}
