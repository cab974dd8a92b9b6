package inspect

import (
	"maps"
	"slices"
	"strings"
)

// maxDatabase is how much of a file of a package manager is read.
const maxDatabase = 64 << 20

// packages returns the versions of the installed packages by their names, with
// the architecture where the package manager of the tree allows several. It
// knows the databases of dpkg, pacman and apk.
func (x *index) packages() (map[string]string, error) {
	found := map[string]string{}
	if err := x.dpkg(found); err != nil {
		return nil, err
	}
	if err := x.pacman(found); err != nil {
		return nil, err
	}
	return found, x.apk(found)
}

func (x *index) dpkg(found map[string]string) error {
	files := []string{"var/lib/dpkg/status"}
	for i := range x.tree {
		if e := &x.tree[i]; e.Parent() == "var/lib/dpkg/status.d" && !strings.HasSuffix(e.Path, ".md5sums") {
			files = append(files, e.Path)
		}
	}
	for _, name := range files {
		text, _, err := x.text(name, maxDatabase)
		if err != nil {
			return err
		}
		for paragraph := range strings.SplitSeq(text, "\n\n") {
			p := map[string]string{}
			for line := range strings.Lines(paragraph) {
				if key, value, ok := strings.Cut(line, ":"); ok {
					p[key] = strings.TrimSpace(value)
				}
			}
			status := strings.Fields(p["Status"])
			// A database that is only files of packages has no states.
			if p["Package"] != "" && p["Version"] != "" && (len(status) == 0 || status[len(status)-1] == "installed") {
				found[p["Package"]+":"+p["Architecture"]] = p["Version"]
			}
		}
	}
	return nil
}

func (x *index) pacman(found map[string]string) error {
	const dir = "var/lib/pacman/local/"
	for i := range x.tree {
		e := &x.tree[i]
		if !strings.HasPrefix(e.Path, dir) || e.Name() != "desc" {
			continue
		}
		text, _, err := x.text(e.Path, maxText)
		if err != nil {
			return err
		}
		lines := strings.Split(text, "\n")
		value := func(key string) string {
			if i := slices.Index(lines, key); i >= 0 && i+1 < len(lines) {
				return lines[i+1]
			}
			return ""
		}
		if name := value("%NAME%"); name != "" {
			found[name] = value("%VERSION%")
		}
	}
	return nil
}

func (x *index) apk(found map[string]string) error {
	for _, name := range []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"} {
		text, _, err := x.text(name, maxDatabase)
		if err != nil {
			return err
		}
		name := ""
		for line := range strings.Lines(text) {
			switch line = strings.TrimRight(line, "\n"); {
			case strings.HasPrefix(line, "P:"):
				name = line[2:]
			case strings.HasPrefix(line, "V:") && name != "":
				found[name] = line[2:]
			}
		}
	}
	return nil
}

// diffPackages compares what is installed.
func diffPackages(a, b map[string]string) []PackageDiff {
	all := maps.Clone(a)
	maps.Copy(all, b)
	var list []PackageDiff
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, inA := a[name]
		y, inB := b[name]
		switch {
		case !inA:
			list = append(list, PackageDiff{Added, name, "", y})
		case !inB:
			list = append(list, PackageDiff{Removed, name, x, ""})
		case x != y:
			list = append(list, PackageDiff{Changed, name, x, y})
		}
	}
	return list
}
