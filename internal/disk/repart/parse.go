package repart

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Limits on definition files, far above what any real one needs.
const (
	maxDefinitionSize = 1 << 20
	maxDefinitions    = 128 // as many as the partition table has entries
)

// ParseDefinitions reads the repart.d(5) files *.conf at the top of fsys, in
// the order of their names, each followed by its drop-ins NAME.conf.d/*.conf.
// The architecture resolves the types and specifiers that depend on it. Errors
// name file and line; a setting that is known but not built yet is refused by
// its name.
func ParseDefinitions(fsys fs.FS, architecture string) ([]Definition, error) {
	names, err := confFiles(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading partition definitions: %w", err)
	}
	if len(names) > maxDefinitions {
		return nil, fmt.Errorf("%d partition definitions are more than the %d that fit into a partition table", len(names), maxDefinitions)
	}
	var defs []Definition
	for _, name := range names {
		d, err := parseDefinition(fsys, name, architecture)
		if err != nil {
			return nil, err
		}
		defs = append(defs, *d)
	}
	return defs, nil
}

// confFiles lists the *.conf files of a folder, sorted; none if it is missing.
func confFiles(fsys fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") && !e.IsDir() {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	slices.Sort(names)
	return names, nil
}

func parseDefinition(fsys fs.FS, name, architecture string) (*Definition, error) {
	files := []string{name}
	if info, err := fs.Stat(fsys, name+".d"); err == nil && info.IsDir() {
		more, err := confFiles(fsys, name+".d")
		if err != nil {
			return nil, fmt.Errorf("reading %s.d: %w", name, err)
		}
		files = append(files, more...)
	}
	d := &Definition{File: path.Base(name), Weight: defaultWeight, SplitName: "%t"}
	for _, file := range files {
		text, err := readLimited(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if err := d.parse(file, text, architecture); err != nil {
			return nil, err
		}
	}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

func readLimited(fsys fs.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDefinitionSize+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxDefinitionSize {
		return "", fmt.Errorf("larger than %d bytes", maxDefinitionSize)
	}
	return string(b), nil
}

// parse applies one file to the definition.
func (d *Definition) parse(file, text, architecture string) error {
	inSection := false
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		number := i + 1
		line := strings.TrimSpace(lines[i])
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		for strings.HasSuffix(line, "\\") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "\\") + " " + strings.TrimSpace(lines[i])
		}
		if line[0] == '[' {
			if line != "[Partition]" {
				return fmt.Errorf("%s:%d: unknown section %s", file, number, line)
			}
			inSection = true
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("%s:%d: expected NAME=value, not %q", file, number, line)
		}
		if !inSection {
			return fmt.Errorf("%s:%d: setting outside of the section [Partition]", file, number)
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if err := d.set(key, value, architecture); err != nil {
			return fmt.Errorf("%s:%d: %s=: %w", file, number, key, err)
		}
	}
	return nil
}

// check refuses combinations that have no meaning.
func (d *Definition) check() error {
	switch {
	case d.Type.Name == "":
		return fmt.Errorf("setting Type= is missing")
	case d.SizeMin != nil && d.SizeMax != nil && *d.SizeMin > *d.SizeMax:
		return fmt.Errorf("SizeMinBytes= (%d) is larger than SizeMaxBytes= (%d)", *d.SizeMin, *d.SizeMax)
	case d.PaddingMin != nil && d.PaddingMax != nil && *d.PaddingMin > *d.PaddingMax:
		return fmt.Errorf("PaddingMinBytes= (%d) is larger than PaddingMaxBytes= (%d)", *d.PaddingMin, *d.PaddingMax)
	case d.Verity != VerityOff && d.VerityMatchKey == "":
		return fmt.Errorf("setting Verity=%s needs VerityMatchKey=", d.Verity)
	case d.Verity == VerityOff && d.VerityMatchKey != "":
		return fmt.Errorf("VerityMatchKey= needs Verity=")
	case (d.Verity == VerityHashRole || d.Verity == VeritySignatureRole) && (d.Format != "" || d.hasContent()):
		return fmt.Errorf("setting Verity=%s leaves no room for a file system", d.Verity)
	case d.Verity == VerityDataRole && d.Format == "" && !d.hasContent():
		return fmt.Errorf("setting Verity=data needs Format= or CopyFiles=")
	}
	if d.Format == "" && d.hasContent() {
		d.Format = "ext4"
		if d.Type.Role == RoleESP || d.Type.Role == RoleXBOOTLDR {
			d.Format = "vfat"
		}
	}
	if d.Minimize == MinimizeBest && d.Format != "" && d.Format != "erofs" {
		return fmt.Errorf("setting Minimize=best needs a read-only file system, Format=%s is none (use Minimize=guess)", d.Format)
	}
	if d.Minimize != MinimizeOff && d.Format == "" && d.Verity != VerityHashRole {
		return fmt.Errorf("setting Minimize= needs Format= or Verity=hash")
	}
	switch d.Format {
	case "", "erofs", "ext4":
		return nil
	}
	return fmt.Errorf("setting Format=%s is not supported yet", d.Format)
}

// hasContent says whether anything is to be put into the file system.
func (d *Definition) hasContent() bool {
	return len(d.CopyFiles) > 0 || len(d.MakeDirectories) > 0
}
