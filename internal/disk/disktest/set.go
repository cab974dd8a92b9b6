// Package disktest reads the definition sets that tests compare with
// systemd-repart(8): internal/disk builds each and looks for the stored
// partition table, and the integration tests check that systemd-repart 262
// still writes that.
package disktest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// Seed is what all identifiers are derived from.
const Seed = "3d30965a-0981-46f6-a67a-9c6bc38538e6"

// dirMark stands in definitions for the folder that has the files of the set.
const dirMark = "@DIR@"

// expected is the name of the stored side in a set's file.
const expected = "expected"

// Set is a file NAME.txtar. Its files are, for the first run:
//
//	1/options         options of systemd-repart(8), a line each
//	1/repart.d/...    partition definitions
//
// and those of a second run on the same image with 2/. A file "blocks" has the names and sizes of
// files that CopyBlocks= can name, a line each. What is expected is Describe of
// the finished image, or "fails".
type Set struct {
	// Name is that of the file without .txtar.
	Name string
	// Runs are at least one.
	Runs []Run

	path    string
	archive *txtar.Archive
}

// Run is one run on an image.
type Run struct {
	// Options are those of systemd-repart(8) beside the image, the definitions
	// and the seed, without the dashes: "size=100M".
	Options []string
	// Definitions are the files' contents by their names.
	Definitions map[string]string
}

// Load reads the sets in a folder.
func Load(dir string) ([]*Set, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	var sets []*Set
	for _, p := range paths {
		s := &Set{Name: strings.TrimSuffix(filepath.Base(p), ".txtar"), path: p}
		if s.archive, err = txtar.ParseFile(p); err != nil {
			return nil, err
		}
		if err := s.parse(); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		sets = append(sets, s)
	}
	return sets, nil
}

// parse sorts the files of the set.
func (s *Set) parse() error {
	for _, f := range s.archive.Files {
		number, name, ok := strings.Cut(f.Name, "/")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			if f.Name != expected && f.Name != "blocks" {
				return fmt.Errorf("file %s is of no known kind", f.Name)
			}
			continue
		}
		if n == len(s.Runs)+1 {
			s.Runs = append(s.Runs, Run{Definitions: map[string]string{}})
		}
		if n < 1 || n > len(s.Runs) {
			return fmt.Errorf("file %s is of no run that is expected here", f.Name)
		}
		r := &s.Runs[n-1]
		switch {
		case name == "options":
			r.Options = strings.Fields(string(f.Data))
		case path.Dir(name) == "repart.d":
			r.Definitions[path.Base(name)] = string(f.Data)
		default:
			return fmt.Errorf("file %s is of no known kind", f.Name)
		}
	}
	if len(s.Runs) == 0 {
		return fmt.Errorf("there are no definitions")
	}
	return nil
}

// Write puts the files of the set into a folder: the sources of CopyBlocks=,
// and the definitions of each run in Definitions of that run.
func (s *Set) Write(dir string) error {
	for _, f := range s.archive.Files {
		if f.Name != "blocks" {
			continue
		}
		for line := range strings.Lines(string(f.Data)) {
			var name string
			var size int
			if _, err := fmt.Sscan(line, &name, &size); err != nil {
				return fmt.Errorf("%s: line %q: %w", s.path, line, err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), pattern(name, size), 0o644); err != nil {
				return err
			}
		}
	}
	for i, r := range s.Runs {
		to := Definitions(dir, i)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		for name, text := range r.Definitions {
			if err := os.WriteFile(filepath.Join(to, name), []byte(strings.ReplaceAll(text, dirMark, dir)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// Definitions is the folder that Write puts the definitions of a run into,
// counted from zero.
func Definitions(dir string, run int) string {
	return filepath.Join(dir, strconv.Itoa(run+1), "repart.d")
}

// pattern is content that is the same every time.
func pattern(name string, size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%s, line %d\n", name, i)
	}
	return b.Bytes()[:size]
}

// Expected is the stored side, empty when there is none.
func (s *Set) Expected() string {
	for _, f := range s.archive.Files {
		if f.Name == expected {
			return string(f.Data)
		}
	}
	return ""
}

// Store writes another stored side into the set's file.
func (s *Set) Store(text string) error {
	var files []txtar.File
	for _, f := range s.archive.Files {
		if f.Name != expected {
			files = append(files, f)
		}
	}
	s.archive.Files = append(files, txtar.File{Name: expected, Data: []byte(text)})
	return os.WriteFile(s.path, txtar.Format(s.archive), fs.FileMode(0o644))
}
