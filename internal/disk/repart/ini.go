package repart

import (
	"strings"
	"unicode/utf8"

	"github.com/mkosi-go/mkosi/internal/spelling"
)

// sectionName is the only section that definitions have.
const sectionName = "Partition"

// assignment is one line NAME=value of a definition file.
type assignment struct {
	key, value string
	line       int
}

// scan reads the dialect of INI that systemd's programs share, see
// systemd.syntax(7): a backslash at the end of a line continues it with the
// next one, comments in between notwithstanding; comments stand on lines of
// their own; sections and settings whose names begin with X- are for others.
func scan(file, text string, log *problems) []assignment {
	s := scanner{file: file, log: log}
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(text, "\ufeff"))
	if i := strings.IndexByte(text, 0); i >= 0 {
		log.fail(file, 1+strings.Count(text[:i], "\n"), "the file is not text, it contains a zero byte")
		return nil
	}
	for i, line := range strings.Split(text, "\n") {
		s.physical(i+1, line)
	}
	s.flush()
	return s.found
}

// scanner is the state between the lines of a file.
type scanner struct {
	file  string
	log   *problems
	found []assignment
	// started says that continued, which began at line start, goes on.
	started   bool
	continued strings.Builder
	start     int
	// section is "" before the first heading; foreign says that what follows
	// belongs to others.
	section string
	foreign bool
}

const blanks = " \t\r\n"

// physical takes a line of the file.
func (s *scanner) physical(number int, line string) {
	if text := strings.TrimLeft(line, blanks); text != "" && (text[0] == '#' || text[0] == ';') {
		return
	}
	if !s.started {
		s.started, s.start = true, number
		s.continued.Reset()
	}
	// Of several backslashes, each pair stands for itself.
	if n := len(line) - len(strings.TrimRight(line, `\`)); n%2 == 1 {
		s.continued.WriteString(line[:len(line)-1] + " ")
		return
	}
	s.continued.WriteString(line)
	s.flush()
}

// flush ends a line that could have gone on.
func (s *scanner) flush() {
	if s.started {
		s.started = false
		s.logical(s.start, strings.Trim(s.continued.String(), blanks))
	}
}

// logical takes a line with all that continues it.
func (s *scanner) logical(number int, line string) {
	switch {
	case line == "":
		return
	case !utf8.ValidString(line):
		s.log.fail(s.file, number, "the line is not valid UTF-8")
		return
	case line[0] == '[':
		s.heading(number, line)
		return
	}
	key, value, ok := strings.Cut(line, "=")
	key, value = strings.TrimRight(key, blanks), strings.TrimLeft(value, blanks)
	switch {
	case s.foreign || ok && strings.HasPrefix(key, "X-"):
	case !ok:
		s.log.fail(s.file, number, "expected NAME=value, not %q", line)
	case key == "":
		s.log.fail(s.file, number, "there is no name before the equals sign")
	case s.section == "":
		s.log.fail(s.file, number, "setting outside of a section (write [%s] above it)", sectionName)
	default:
		s.found = append(s.found, assignment{key, value, number})
	}
}

func (s *scanner) heading(number int, line string) {
	name, ok := strings.CutSuffix(line[1:], "]")
	if !ok || name == "" {
		s.section, s.foreign = "", true
		s.log.fail(s.file, number, "%q is not a section heading (write [%s], and nothing behind it)", line, sectionName)
		return
	}
	s.section, s.foreign = name, name != sectionName
	switch {
	case !s.foreign, strings.HasPrefix(name, "X-"):
	case spelling.Nearest(name, []string{sectionName}) != "":
		s.log.fail(s.file, number, "unknown section [%s] (did you mean [%s]?)", name, sectionName)
	default:
		s.log.warn(s.file, number, "unknown section [%s] is ignored", name)
	}
}
