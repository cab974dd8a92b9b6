package cli

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// What a guest had written to its journal is kept when it is lost, for its user only.
func TestJournalLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.journal.log")
	if err := os.WriteFile(path, []byte("of an earlier run"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ sent, want string }{
		"lost":    {"one\r\n\x1b[1mtwo\x1b[0m\n", "one\ntwo\n"},
		"nothing": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			log, err := newJournalLog(path)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := net.Pipe()
			go func() {
				// The other side reads until the end.
				_, _ = io.WriteString(theirs, tt.sent)
				theirs.Close()
			}()
			log.receive(ours)
			kept, err := log.close()
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if _, err := os.Stat(path); kept != "" || err == nil {
					t.Errorf("an empty file was kept: %q, %v", kept, err)
				}
				return
			}
			data, err := os.ReadFile(path)
			info, statErr := os.Stat(path)
			if err != nil || statErr != nil || string(data) != tt.want || kept != path || info.Mode() != 0o600 {
				t.Errorf("kept %q with %q, error %v, mode %v", kept, data, err, info.Mode())
			}
		})
	}
}
