package pkgmgr

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// transcript passes on what a tool prints and keeps the end of it. Standard
// output and error may be written at the same time.
type transcript struct {
	output io.Writer // may be nil

	mu  sync.Mutex
	buf []byte
}

const transcriptSize = 64 << 10

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 2*transcriptSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-transcriptSize:]...)
	}
	if t.output == nil {
		return len(p), nil
	}
	return t.output.Write(p)
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
		"check the network, or name another mirror with Mirror="},
	{regexp.MustCompile(`(?m)^E: (You don't have enough free space in \S+|.*No space left on device.*)`),
		"the disk is full: %[1]s", ""},
	{regexp.MustCompile(`(?s)The following packages have unmet dependencies:\n(.*?)\nE: `),
		"packages cannot be installed together:\n%[1]s", ""},
	{regexp.MustCompile(`(?m)^dpkg: error processing (?:package|archive) (\S+) [^\n]*\n (.*)`),
		"dpkg cannot install %[1]s: %[2]s", ""},
}

// explain turns the failure of a command into a sentence.
func (a *Apt) explain(t *transcript, err error) error {
	if err == nil {
		return nil
	}
	e := exitError(err)
	if e == nil {
		return err
	}
	for _, s := range symptoms {
		m := s.pattern.FindSubmatch(t.buf)
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
	for _, l := range strings.Split(string(t.buf), "\n") {
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
