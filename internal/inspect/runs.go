package inspect

import "github.com/mkosi-go/mkosi/internal/disk/content"

// runsOf is where the content of a file lies in its file system, nil if that
// is not known.
func runsOf(e *content.Entry) []content.Run {
	f, err := e.Open()
	if err != nil {
		return nil
	}
	defer f.Close()
	if m, ok := f.(content.Mapped); ok {
		return m.Runs()
	}
	return nil
}
