package inspect

import (
	"errors"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// maxText is how much of a small text file is read.
const maxText = 256 << 10

// index finds entries of a tree by their paths.
type index struct {
	tree   content.Tree
	byPath map[string]*content.Entry
}

func newIndex(tree content.Tree) *index {
	x := &index{tree, make(map[string]*content.Entry, len(tree))}
	for i := range tree {
		x.byPath[tree[i].Path] = &tree[i]
	}
	return x
}

// maxLinks is how many symbolic links may lead from one to the next.
const maxLinks = 40

// find follows symbolic links to the entry of a path, within the tree. It
// returns nil if there is none.
func (x *index) find(name string) *content.Entry {
	done, todo := "", strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = parentOf(done)
			continue
		}
		next := path.Join(done, part)
		e := x.byPath[next]
		if e == nil {
			return nil
		}
		if e.Type() != unix.S_IFLNK {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return nil
		}
		if strings.HasPrefix(e.Target, "/") {
			done = ""
		}
		todo = append(strings.Split(e.Target, "/"), todo...)
	}
	return x.byPath[done]
}

// text reads a small text file; ok is false if there is none of the name.
func (x *index) text(name string, limit int64) (text string, ok bool, err error) {
	e := x.find(name)
	if e == nil || e.Type() != unix.S_IFREG {
		return "", false, nil
	}
	b, err := readEntry(e, limit)
	return string(b), err == nil, err
}

// readEntry reads the start of a file, so many bytes at most.
func readEntry(e *content.Entry, limit int64) (b []byte, err error) {
	if e.Size == 0 {
		return nil, nil
	}
	f, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, min(e.Size, limit)))
}

// releases reads the os-release and extension-release files of a tree, which
// may be that of a root or of what is at /usr.
func (x *index) releases() ([]Release, error) {
	var names []string
	for _, name := range []string{"etc/os-release", "usr/lib/os-release", "lib/os-release", "etc/initrd-release"} {
		if x.find(name) != nil {
			names = append(names, name)
			break
		}
	}
	for _, dir := range []string{"usr/lib/extension-release.d", "lib/extension-release.d", "etc/extension-release.d"} {
		for i := range x.tree {
			if e := &x.tree[i]; e.Parent() == dir && strings.HasPrefix(e.Name(), "extension-release.") && len(names) < maxReleases {
				names = append(names, e.Path)
			}
		}
	}
	var list []Release
	for _, name := range names {
		text, ok, err := x.text(name, maxText)
		if err != nil {
			return list, err
		}
		if ok {
			list = append(list, Release{name, parseRelease(text)})
		}
	}
	return list, nil
}

// maxReleases is how many files of releases are told of.
const maxReleases = 100

// parseRelease reads variables as os-release(5) has them.
func parseRelease(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") || strings.ContainsAny(key, " \t") {
			continue
		}
		fields[key] = unquote(value)
	}
	return fields
}

// unquote removes the quotation marks of a shell, and its backslashes.
func unquote(value string) string {
	if len(value) < 2 || value[0] != value[len(value)-1] || value[0] != '"' && value[0] != '\'' {
		return value
	}
	inner := value[1 : len(value)-1]
	if value[0] == '\'' {
		return inner
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}
