package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/spelling"
)

// pathRule says what is asked of a path.
type pathRule struct {
	required  bool     // it must exist
	absolute  bool     // it must be written absolute
	directory bool     // it must be a directory
	outside   string   // a directory that it must not be in, as it is written
	secret    bool     // nobody but its owner may read it
	words     []string // stand for themselves
}

// check makes an absolute path without symbolic links of text.
func (r pathRule) check(c *place, text string) (string, error) {
	if slices.Contains(r.words, text) {
		return text, nil
	}
	if err := checkHome(c, text); err != nil {
		return "", err
	}
	path := followLost(expandPath(c, text), c.warnings)
	if clean := filepath.Clean(path); r.outside != "" && (clean == r.outside || strings.HasPrefix(clean, r.outside+"/")) {
		return "", fmt.Errorf("%s is in %s, which the tools tree brings", path, r.outside)
	}
	if r.absolute && !absolute(expandHome(c, text)) {
		return "", fmt.Errorf("%q is not an absolute path", text)
	}
	info, err := stat(path)
	if c.unread {
		return path, nil
	}
	if r.required && err != nil {
		return "", &missingError{text, path, r.words, err}
	}
	if r.directory && err == nil && !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory", path)
	}
	if r.secret && err == nil {
		if err := checkSecret(path, info); err != nil {
			return "", err
		}
	}
	return c.links.resolve(path), nil
}

// missingError is a path at which there is nothing.
type missingError struct {
	text, path string
	words      []string // that could have stood there instead
	err        error
}

func (e *missingError) Error() string { return whyMissing(e.path, e.err) }

// whyMissing says what keeps a path from being used.
func whyMissing(path string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return path + " does not exist"
	}
	return path + " cannot be read: " + rootCause(err)
}

// hint names one of the words, or a file beside the path.
func (e *missingError) hint() string {
	if hint := didYouMean(e.text, e.words); hint != "" {
		return hint
	}
	names, _ := readDir(filepath.Dir(e.path))
	if near := spelling.Nearest(filepath.Base(e.path), names); near != "" {
		return fmt.Sprintf("did you mean %q?", filepath.Join(filepath.Dir(e.path), near))
	}
	return ""
}

// checkSecret refuses a file that others than its owner and its group may
// use.
func checkSecret(path string, info os.FileInfo) error {
	if perm := info.Mode().Perm(); perm&0o007 != 0 {
		return &secretError{path, perm}
	}
	return nil
}

// secretError is a secret that is not kept.
type secretError struct {
	path string
	perm os.FileMode
}

func (e *secretError) Error() string {
	return fmt.Sprintf("%s is a secret that others can read: its mode is %04o", e.path, e.perm)
}

func (e *secretError) hint() string { return "chmod 600 " + e.path }

// pathKind is a kind that holds one path.
func pathKind(r pathRule) *kind {
	k := scalar("path", r.check)
	k.choices = r.words
	return k
}

// pathList is a list of paths.
func pathList(r pathRule) *kind {
	k := list("list of paths", splitCommas, one(r.check))
	k.choices = r.words
	return k
}

// globList is a list of existing files, each of which may be a pattern.
func globList() *kind {
	return list("list of files", splitCommas, func(c *place, text string) ([]string, error) {
		pattern := goPattern(tidy(text))
		if !absolute(text) {
			pattern = escapePattern(c.dir) + "/" + pattern
		}
		paths, err := glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", text, err)
		}
		paths = slices.DeleteFunc(paths, func(p string) bool { return hiddenMatch(pattern, p) })
		for i, p := range paths {
			paths[i] = c.links.resolve(followLost(p, c.warnings))
		}
		return paths, nil
	})
}

// treeList is a list of SOURCE[:TARGET].
func treeList(source pathRule, absoluteTarget bool) *kind {
	return list("list of SOURCE:TARGET", splitCommas, one(func(c *place, text string) (Tree, error) {
		src, target, given := strings.Cut(text, ":")
		written := target
		if given {
			target = purePath(expandVariables(c.env, target))
		}
		if given && absoluteTarget && !filepath.IsAbs(target) {
			return Tree{}, fmt.Errorf("target %q of %s is not an absolute path", written, src)
		}
		path, err := source.check(c, src)
		if err != nil {
			return Tree{}, err
		}
		return Tree{Source: path, Target: target}, nil
	}))
}

// keyOrFile is a path when there is such a file; else it names something
// that an engine or a provider knows, and stays as it is.
func keyOrFile(secret bool) *kind {
	return scalar("key or certificate", func(c *place, text string) (string, error) {
		written := tidy(text) // no variable, no tilde
		if !absolute(written) {
			written = c.dir + "/" + written
		}
		if !exists(written) {
			return tidy(text), nil
		}
		return pathRule{secret: secret}.check(c, text)
	})
}

// tidy takes empty and single-dot components out of a path, and leaves the
// rest as it is written.
func tidy(path string) string {
	parts := slices.DeleteFunc(strings.Split(path, "/"), func(p string) bool { return p == "" || p == "." })
	s := strings.Join(parts, "/")
	if strings.HasPrefix(path, "/") {
		s = "/" + s
	}
	return s
}

// purePath is a path as it is written, but for what a path does without: a
// target in another root, which nothing is looked up for.
func purePath(text string) string {
	path := tidy(text)
	if strings.HasPrefix(text, "//") && !strings.HasPrefix(text, "///") {
		path = "/" + path // POSIX has two slashes mean something of their own
	}
	if path == "" {
		return "."
	}
	return path
}

// links remembers what symbolic links point to, "" for what is none: the
// paths of a configuration have most of their directories in common. The zero
// value asks every time.
type links map[string]string

// read returns the target of a symbolic link, or "".
func (l links) read(path string) string {
	if target, ok := l[path]; ok {
		return target
	}
	target, err := os.Readlink(path)
	if err != nil {
		target = ""
	}
	if l != nil {
		l[path] = target
	}
	return target
}

// resolve takes dots and symbolic links out of an absolute path, of which any
// part may not exist. A loop of links stays as it is.
func (l links) resolve(path string) string {
	if isBuiltIn(path) {
		return filepath.Clean(path)
	}
	const maxLinks = 40
	resolved, rest, followed := "/", strings.Split(path, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			resolved = filepath.Dir(resolved)
			continue
		}
		next := filepath.Join(resolved, part)
		link := l.read(next)
		if link == "" {
			resolved = next
			continue
		}
		if followed++; followed > maxLinks {
			return filepath.Clean(path)
		}
		if filepath.IsAbs(link) {
			resolved = "/"
		}
		rest = append(strings.Split(link, "/"), rest...)
	}
	return resolved
}
