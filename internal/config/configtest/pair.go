package configtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

// The names of the expected side of a pair, which is the archive's last file.
const (
	WantJSON  = "want.json"  // the keys to compare of each image, in order
	WantError = "want.error" // what a person is told
)

// Pair is a configuration and what it means, one rule each. Lines of the
// archive's comment say how to set it up:
//
//	args: ["-C", "a"]     the command line, as JSON
//	dir: NAME             an empty directory
//	mode: 0600 NAME       the mode of a file; 0644 unless given
type Pair struct {
	Name string
	Path string // of the archive
	Args []string

	archive *txtar.Archive
	dirs    []string
	modes   map[string]os.FileMode
}

// Pairs reads all archives of a directory.
func Pairs(dir string) ([]*Pair, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("there are no archives in %s: %w", dir, errors.Join(err, os.ErrNotExist))
	}
	var pairs []*Pair
	for _, path := range paths {
		p, err := ReadPair(path)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// ReadPair reads an archive.
func ReadPair(path string) (*Pair, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a pair: %w", err)
	}
	p, err := NewPair(txtar.Parse(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p.Name, p.Path = strings.TrimSuffix(filepath.Base(path), ".txtar"), path
	return p, nil
}

// NewPair makes a pair of an archive in memory. It refuses names that lead
// out of the configuration's directory.
func NewPair(archive *txtar.Archive) (*Pair, error) {
	p := &Pair{archive: archive, modes: map[string]os.FileMode{}}
	for line := range strings.Lines(string(p.archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "args":
			if err := json.Unmarshal([]byte(value), &p.Args); err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
		case "dir":
			p.dirs = append(p.dirs, value)
		case "mode":
			mode, name, _ := strings.Cut(value, " ")
			n, err := strconv.ParseUint(mode, 8, 9)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
			p.modes[name] = os.FileMode(n)
		default:
			return nil, fmt.Errorf("unknown line %q", line)
		}
	}
	names := slices.Clone(p.dirs)
	for _, f := range archive.Files {
		names = append(names, f.Name)
	}
	for _, name := range names {
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("%q is not in the directory", name)
		}
	}
	return p, nil
}

// Extract writes the configuration into a directory, which it makes.
func (p *Pair) Extract(dir string) error {
	for _, name := range append([]string{"."}, p.dirs...) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return fmt.Errorf("extracting %s: %w", p.Name, err)
		}
	}
	for _, f := range p.archive.Files {
		if f.Name == WantJSON || f.Name == WantError {
			continue
		}
		mode, ok := p.modes[f.Name]
		if !ok {
			mode = 0o644
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("extracting %s: %w", p.Name, err)
		}
		if err := os.WriteFile(path, f.Data, mode); err != nil {
			return fmt.Errorf("extracting %s: %w", p.Name, err)
		}
	}
	return nil
}

// Want returns the expected side and its name: WantJSON, WantError, or ""
// when there is none yet.
func (p *Pair) Want() (name, text string) {
	if n := len(p.archive.Files); n > 0 {
		if last := p.archive.Files[n-1]; last.Name == WantJSON || last.Name == WantError {
			return last.Name, string(last.Data)
		}
	}
	return "", ""
}

// WantImages reads the expected side as the keys of each image, with the
// configuration's directory put in for $DIR.
func (p *Pair) WantImages(dir string) ([]map[string]any, error) {
	_, text := p.Want()
	var images []map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "$DIR", dir)), &images); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", WantJSON, p.Name, err)
	}
	return images, nil
}

// SetWant replaces the expected side, in the archive too.
func (p *Pair) SetWant(name, text string) error {
	if old, _ := p.Want(); old != "" {
		p.archive.Files = slices.Delete(p.archive.Files, len(p.archive.Files)-1, len(p.archive.Files))
	}
	p.archive.Files = append(p.archive.Files, txtar.File{Name: name, Data: []byte(text)})
	if err := os.WriteFile(p.Path, txtar.Format(p.archive), 0o644); err != nil {
		return fmt.Errorf("writing a pair: %w", err)
	}
	return nil
}
