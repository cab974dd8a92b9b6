package console

import (
	"fmt"
	"io"
)

// MaxLog is how many bytes of a guest's console a log keeps.
const MaxLog = 64 << 20

// Limited returns a writer that passes on so many bytes and then a line that says so. The rest it takes and drops, so
// that a guest can fill no disk.
func Limited(to io.Writer, most int64) io.Writer { return &limited{to: to, left: most, most: most} }

type limited struct {
	to         io.Writer
	left, most int64
	said       bool
}

// Write passes on what there is room for.
func (l *limited) Write(data []byte) (int, error) {
	now := data[:min(int64(len(data)), l.left)]
	l.left -= int64(len(now))
	if len(now) > 0 {
		if _, err := l.to.Write(now); err != nil {
			return 0, err
		}
	}
	if len(now) < len(data) && !l.said {
		l.said = true
		if _, err := fmt.Fprintf(l.to, "\n[more than %d bytes: the rest is not kept]\n", l.most); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}
