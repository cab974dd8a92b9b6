package tree

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Remove removes from the tree at root what the patterns of RemoveFiles=
// match, directories with all they hold. See Glob for the patterns. What
// matches nothing is no error.
func Remove(ctx context.Context, root string, patterns ...string) error {
	paths, err := Glob(ctx, root, patterns...)
	if err != nil {
		return err
	}
	fd, err := openDir(unix.AT_FDCWD, root, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(fd)
	for _, p := range paths {
		full := path.Join(root, p)
		if p == "." {
			return fmt.Errorf("removing %s: refusing to remove the root", full)
		}
		dir, base := split(p)
		parent, err := OpenIn(fd, dir, unix.O_PATH|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) {
			continue // gone with a directory that was removed before
		}
		if err != nil {
			return fmt.Errorf("removing %s: %w", full, err)
		}
		err = removeAt(ctx, parent, base, full)
		unix.Close(parent)
		if err != nil {
			return err
		}
	}
	return nil
}

// Glob returns the paths in the tree at root that the patterns match, relative
// to it, sorted and each one once. A pattern is taken from the root whether
// it starts with a slash or not. In a component * stands for any number of
// characters, a leading dot included, ? for one, [a-z] and [!a-z] for one of
// a set. The component ** stands for any number of directories, none
// included; as the last one it matches everything below, and the directory
// itself. A pattern that ends in a slash matches directories only.
//
// Named components that are links are followed inside root; * and ** do not
// follow any except where a further component follows the *. The pattern ".."
// is refused.
func Glob(ctx context.Context, root string, patterns ...string) ([]string, error) {
	fd, err := openDir(unix.AT_FDCWD, root, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", root, err)
	}
	defer unix.Close(fd)
	found := map[string]bool{}
	for _, p := range patterns {
		g := globber{ctx: ctx, root: fd, found: found, dirsOnly: strings.HasSuffix(p, "/")}
		parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
		parts = slices.DeleteFunc(parts, func(s string) bool { return s == "." })
		if slices.Contains(parts, "..") {
			return nil, fmt.Errorf("pattern %s: .. is not allowed in it", p)
		}
		parts = slices.CompactFunc(parts, func(a, b string) bool { return a == "**" && b == "**" })
		if len(parts) == 0 {
			continue
		}
		if err := g.match(".", parts); err != nil {
			return nil, fmt.Errorf("pattern %s: %w", p, err)
		}
	}
	paths := make([]string, 0, len(found))
	for p := range found {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths, nil
}

type globber struct {
	ctx      context.Context
	root     int
	found    map[string]bool
	dirsOnly bool
}

// match looks for the components parts below the directory dir.
func (g *globber) match(dir string, parts []string) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	part, rest := parts[0], parts[1:]
	if part == "**" {
		return g.matchAll(dir, rest, 0)
	}
	if !strings.ContainsAny(part, "*?[") {
		return g.matchPath(join(dir, part), rest)
	}
	names, err := g.names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !MatchName(part, name) {
			continue
		}
		if err := g.matchPath(join(dir, name), rest); err != nil {
			return err
		}
	}
	return nil
}

// matchPath goes on below the path p, which the components so far match.
func (g *globber) matchPath(p string, rest []string) error {
	if len(rest) > 0 {
		return g.match(p, rest)
	}
	ok, dir, err := g.lookup(p)
	if err != nil || !ok || g.dirsOnly && !dir {
		return err
	}
	g.found[p] = true
	return nil
}

// matchAll looks for rest in dir and, following no link, in every directory
// below it.
func (g *globber) matchAll(dir string, rest []string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("reading %s: %w", dir, errTooDeep)
	}
	if len(rest) > 0 {
		if err := g.match(dir, rest); err != nil {
			return err
		}
	} else if ok, _, err := g.lookup(dir); err != nil {
		return err
	} else if ok && dir != "." {
		g.found[dir] = true
	}
	names, err := g.names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		p := join(dir, name)
		_, isDir, err := g.lookup(p)
		if err == nil && isDir {
			err = g.matchAll(p, rest, depth+1)
		} else if err == nil && len(rest) == 0 && !g.dirsOnly {
			g.found[p] = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lookup reports whether p exists and whether it is a directory, not a link to one.
func (g *globber) lookup(p string) (exists, dir bool, err error) {
	fd, err := OpenIn(g.root, p, unix.O_PATH|unix.O_NOFOLLOW)
	if absent(err) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("opening %s: %w", p, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, false, fmt.Errorf("reading %s: %w", p, err)
	}
	return true, st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

func (g *globber) names(dir string) ([]string, error) {
	fd, err := OpenIn(g.root, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	defer unix.Close(fd)
	return readNames(fd)
}

// absent reports whether an error of opening says that there is no such file,
// rather than that it could not be looked at.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG)
}

// MatchName reports whether all of name matches a pattern in which * stands for
// any number of characters, ? for one, [a-z] and [!a-z] for one of a set. A slash
// is a character like any other. The time grows with the product of the lengths
// at most.
func MatchName(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(n) {
		if i < len(p) && p[i] == '*' {
			star, mark = i, j
			i++
			continue
		}
		if width, ok := matchOne(p[i:], n[j]); ok {
			i += width
			j++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		i, j = star+1, mark
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// matchOne matches one character with the start of p and returns how much of p
// that took.
func matchOne(p []rune, r rune) (int, bool) {
	if len(p) == 0 {
		return 0, false
	}
	switch p[0] {
	case '?':
		return 1, true
	case '[':
		return matchSet(p, r)
	}
	return 1, p[0] == r
}

// matchSet matches a bracket expression; an unfinished one is a plain bracket.
func matchSet(p []rune, r rune) (int, bool) {
	i := 1
	negated := i < len(p) && p[i] == '!'
	if negated {
		i++
	}
	in := false
	for first := true; i < len(p); first = false {
		if p[i] == ']' && !first {
			return i + 1, in != negated
		}
		lo, hi := p[i], p[i]
		i++
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			hi = p[i+1]
			i += 2
		}
		in = in || lo <= r && r <= hi
	}
	return 1, r == '['
}
