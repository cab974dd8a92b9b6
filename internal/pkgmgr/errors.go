package pkgmgr

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// transcript passes on what a tool prints, line by line and without the
// passwords in it, and keeps the end of it. Standard output and error, when
// they are apart, are two streams, lest they meet in the middle of a line.
type transcript struct {
	output io.Writer // may be nil

	mu      sync.Mutex
	streams []*stream
}

// stream is one stream of a tool's output.
type stream struct {
	transcript *transcript
	line       []byte // the last line, unfinished
	buf        []byte // the end of all lines
}

const transcriptSize = 64 << 10

// stream adds a stream.
func (t *transcript) stream() *stream {
	s := &stream{transcript: t}
	t.streams = append(t.streams, s)
	return s
}

// writers returns what a command's standard output and error are to be,
// which go to the given writers too, if those are not nil.
func (t *transcript) writers(out, err io.Writer) (stdout, stderr io.Writer) {
	stdout = t.stream()
	if out == nil && err == nil {
		return stdout, stdout // in the order in which they are written
	}
	stderr = t.stream()
	if out != nil {
		stdout = io.MultiWriter(stdout, out)
	}
	if err != nil {
		stderr = io.MultiWriter(stderr, err)
	}
	return stdout, stderr
}

// finish ends the streams and returns them one after another.
func (t *transcript) finish() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text []byte
	for _, s := range t.streams {
		if err := s.take(len(s.line)); err != nil {
			return nil, err
		}
		text = append(text, s.buf...)
	}
	return text, nil
}

func (s *stream) Write(p []byte) (int, error) {
	s.transcript.mu.Lock()
	defer s.transcript.mu.Unlock()
	s.line = append(s.line, p...)
	end := bytes.LastIndexByte(s.line, '\n') + 1
	if len(s.line)-end > transcriptSize {
		end = len(s.line) // no line that anybody reads
	}
	if err := s.take(end); err != nil {
		return 0, err
	}
	return len(p), nil
}

// take passes on the first n bytes that wait in line. mu is held.
func (s *stream) take(n int) error {
	if n == 0 {
		return nil
	}
	text := []byte(redact(string(s.line[:n])))
	s.line = append(s.line[:0], s.line[n:]...)
	s.buf = append(s.buf, text...)
	if over := len(s.buf) - 2*transcriptSize; over > 0 {
		s.buf = append(s.buf[:0], s.buf[len(s.buf)-transcriptSize:]...)
	}
	if s.transcript.output == nil {
		return nil
	}
	_, err := s.transcript.output.Write(text)
	return err
}

// symptom recognises a failure in apt's output and says what it means.
type symptom struct {
	pattern *regexp.Regexp
	// sentence and hint take the pattern's groups as %[1]s and so on.
	sentence, hint string
}

// Error is a failure of apt or dpkg, told in a sentence.
type Error struct {
	Msg  string // what is wrong
	hint string
	err  error // of the command
}

func (e *Error) Error() string { return e.Msg }

// Hint says what to do, or is empty.
func (e *Error) Hint() string { return e.hint }

// Unwrap returns the failure of the command.
func (e *Error) Unwrap() error { return e.err }

const (
	untrusted     = "the repository %[1]s is not signed by a key that is trusted (%[2]s)"
	mirrorHint    = "check the network, or name another mirror with Mirror="
	untrustedHint = "install the distribution's keyring package on this machine, or name the right key in the sandbox tree"
)

// symptoms are looked for in order: causes before consequences. apt's own
// messages are stable under LANG=C.UTF-8.
var symptoms = []symptom{
	{regexp.MustCompile(`(?m)^E: (?:Unable to locate package|Couldn't find any package by (?:glob|regex)) '?([^'\s]+)'?`),
		"package %[1]s does not exist in the configured repositories",
		"check the spelling, Release= and Repositories="},
	{regexp.MustCompile(`(?m)^E: Package '([^']+)' has no installation candidate`),
		"package %[1]s is known but no repository offers it",
		"check Release= and Repositories="},
	{regexp.MustCompile(`(?m)^E: (?:Version|Release) '([^']+)' for '([^']+)' was not found`),
		"package %[2]s is not available in version %[1]s", ""},
	{regexp.MustCompile(`(?m)^[WE]: .*?(\S+:/\S+) .*(NO_PUBKEY [0-9A-F]+|EXPKEYSIG [0-9A-F]+|BADSIG [0-9A-F]+)`), untrusted, untrustedHint},
	// apt 3 has another program check signatures.
	{regexp.MustCompile(`(?m)^[WE]: .*?(\S+:/\S+) .*Sub-process \S*(?:sqv|gpgv)\S* returned an error code \(\d+\), error message is: ([^\n]*)`), untrusted, untrustedHint},
	{regexp.MustCompile(`(?m)^[WE]: .*?(\S+:/\S+) .*(signatures (?:were invalid|couldn't be verified)[^\n]*|[Nn]o keyring[^\n]*|NODATA[^\n]*)`), untrusted, untrustedHint},
	{regexp.MustCompile(`(?m)^E: The repository '(\S+) ([^']*)' is not signed`),
		"the repository %[1]s %[2]s is not signed",
		"if it is to be trusted all the same, set RepositoryKeyCheck=no or mark it as trusted in the sandbox tree"},
	{regexp.MustCompile(`(?m)^E: The repository '(\S+) ([^']*)' (?:does not have a Release file|no longer has a Release file)`),
		"there is no repository at %[1]s for %[2]s",
		"check Release= and Mirror="},
	{regexp.MustCompile(`(?m)^E: Failed to fetch (\S+\.deb)\s+404`),
		"%[1]s is not on the mirror any more: the cached metadata is out of date",
		"update the metadata (CacheOnly=never), or name another mirror with Mirror="},
	{regexp.MustCompile(`(?m)^[WE]: Failed to fetch (\S+)\s+(.*)`),
		"cannot download %[1]s: %[2]s",
		mirrorHint},
	{regexp.MustCompile(`(?m)^E: (You don't have enough free space in \S+|.*No space left on device.*)`),
		"the disk is full: %[1]s", ""},
	{regexp.MustCompile(`(?s)The following packages have unmet dependencies:\n(.*?)\nE: `),
		"packages cannot be installed together:\n%[1]s", ""},
	{regexp.MustCompile(`(?m)^dpkg: error processing (?:package|archive) (\S+) [^\n]*\n (.*)`),
		"dpkg cannot install %[1]s: %[2]s", ""},
}

const offlineHint = "CacheOnly=always keeps this build from the network: build once without it"

// offlineSymptoms are those of a cache that lacks something.
func (a *Apt) offlineSymptoms() []symptom {
	if !a.Offline {
		return nil
	}
	list := []symptom{{regexp.MustCompile(`(?m)^[WE]: Failed to fetch \S*?([^/\s]+\.deb)\s`),
		"%[1]s is not in the package cache", offlineHint}}
	if !a.Synced() {
		list = append(list, symptom{regexp.MustCompile(``), "the package metadata is not in the cache", offlineHint})
	}
	return list
}

// explain turns the failure of a command into a sentence.
func (a *Apt) explain(t *transcript, err error) error {
	text, ferr := t.finish()
	if err == nil {
		return ferr
	}
	e := exitError(err)
	if e == nil {
		return err
	}
	e.Tail = redact(e.Tail)
	for _, s := range append(a.offlineSymptoms(), symptoms...) {
		m := s.pattern.FindSubmatch(text)
		if m == nil {
			continue
		}
		args := make([]any, len(m)-1)
		for i := range args {
			args[i] = string(bytes.TrimSpace(m[i+1]))
		}
		return &Error{Msg: fill(s.sentence, args), hint: fill(s.hint, args), err: err}
	}
	var lines []string
	for _, l := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(l, "E: ") {
			lines = append(lines, strings.TrimPrefix(l, "E: "))
		}
	}
	if len(lines) > 0 {
		return &Error{Msg: "apt-get failed: " + strings.Join(lines, "; "), err: err}
	}
	return fmt.Errorf("apt-get failed: %w", err)
}

// fill puts the arguments into a sentence.
func fill(sentence string, args []any) string {
	for i, arg := range args {
		sentence = strings.ReplaceAll(sentence, fmt.Sprintf("%%[%d]s", i+1), arg.(string))
	}
	return sentence
}
