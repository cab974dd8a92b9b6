package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// unpacked is what dpkg's database needs to know of a package that has been
// unpacked.
type unpacked struct {
	*Archive
	list      []string          // paths as dpkg lists them, in the archive's order
	md5       map[string]string // by path, when the archive brings no md5sums
	conffiles []string          // entries of the status file, in the order of the control file
}

// unpackJob is one package on its way into the tree.
type unpackJob struct {
	tree       *tree
	order      int
	rules      []Rule
	diversions map[string]diversion
	// early also puts configuration files at their final name, for
	// maintainer scripts that run before the package is configured.
	early bool

	pkg       string
	out       *unpacked
	conffiles map[string]bool
	buf       []byte
}

// run unpacks the archive into the tree.
func (j *unpackJob) run(ctx context.Context, a *Archive) (*unpacked, error) {
	j.pkg = a.Control.Get("Package")
	j.out = &unpacked{Archive: a}
	j.buf = make([]byte, 128<<10)
	if err := j.readConffiles(); err != nil {
		return nil, err
	}
	if _, ok := a.Files["md5sums"]; !ok {
		j.out.md5 = map[string]string{}
	}
	err := a.Unpack(ctx, func(h *tar.Header, body io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := j.member(h, body); err != nil {
			return fmt.Errorf("unpacking %s from %s: %w", h.Name, j.pkg, err)
		}
		return nil
	})
	return j.out, err
}

// readConffiles reads which files are configuration, deb-conffiles(5).
func (j *unpackJob) readConffiles() error {
	j.conffiles = map[string]bool{}
	for line := range strings.Lines(string(j.out.Files["conffiles"].Data)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if strings.HasPrefix(line, "remove-on-upgrade ") {
			// Says what to do when there was an older version. dpkg notes it.
			file := strings.TrimSpace(line[len("remove-on-upgrade"):])
			j.out.conffiles = append(j.out.conffiles, file+" newconffile remove-on-upgrade")
			continue
		}
		if line[0] != '/' {
			return conflict("%s has a configuration file with a flag: %s", j.pkg, line)
		}
		j.conffiles[line] = true
		j.out.conffiles = append(j.out.conffiles, line+" newconffile")
	}
	return nil
}

// member puts one member of data.tar into the tree.
func (j *unpackJob) member(h *tar.Header, body io.Reader) error {
	p, err := clean(h.Name)
	if err != nil {
		return err
	}
	abs := "/" + p
	j.out.list = append(j.out.list, abs)
	if excluded(j.rules, abs, h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeSymlink) {
		return nil
	}
	if h.Typeflag == tar.TypeDir {
		return j.tree.mkdir(p, &attributes{
			order: j.order,
			uid:   h.Uid, gid: h.Gid,
			mode: uint32(h.Mode & 0o7777),
			sec:  h.ModTime.Unix(),
			nsec: int64(h.ModTime.Nanosecond()),
		})
	}
	if d, ok := j.diversions[abs]; ok && d.pkg != j.pkg {
		p = d.to[1:]
	}
	dir, name := path.Split(p)
	dir = path.Clean(dir)
	d, err := j.tree.dir(dir)
	if errors.Is(err, unix.ENOENT) {
		// The archive leaves out the directory: dpkg would fail.
		return fmt.Errorf("no directory for it: %w", err)
	}
	if err != nil {
		return err
	}
	if err := j.tree.claim(d, dir, name, j.pkg); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return j.file(d, dir, name, abs, h, body)
	case tar.TypeSymlink:
		return j.symlink(d, dir, name, h)
	case tar.TypeLink:
		return j.hardLink(d, dir, name, h)
	}
	return conflict("%s has a member of type %q", j.pkg, h.Typeflag)
}

// file writes a regular file.
func (j *unpackJob) file(d *directory, dir, name, abs string, h *tar.Header, body io.Reader) error {
	final := name
	conf := j.conffiles[abs]
	if conf {
		name += ".dpkg-new"
		if err := j.tree.claim(d, dir, name, j.pkg); err != nil {
			return err
		}
	}
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(d.fd, name, flags, 0o600)
	if errors.Is(err, unix.EEXIST) {
		// No package owns it, or claim had failed: it gives way.
		if err = unix.Unlinkat(d.fd, name, 0); err == nil {
			fd, err = unix.Openat(d.fd, name, flags, 0o600)
		}
	}
	if err != nil {
		return existing(name, err)
	}
	j.tree.note(dir, name)
	defer unix.Close(fd)
	var sum hash.Hash
	if j.out.md5 != nil && !conf {
		sum = md5.New()
	}
	if err := j.copy(fd, body, sum); err != nil {
		return err
	}
	if sum != nil {
		j.out.md5[abs] = hex.EncodeToString(sum.Sum(nil))
	}
	if err := j.tree.chown(fd, "", h.Uid, h.Gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("setting its owner: %w", err)
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return fmt.Errorf("setting its mode: %w", err)
	}
	ts := times(h)
	if err := unix.Futimes(fd, []unix.Timeval{
		unix.NsecToTimeval(ts[0].Nano()), unix.NsecToTimeval(ts[1].Nano()),
	}); err != nil {
		return fmt.Errorf("setting its time: %w", err)
	}
	if conf && j.early {
		// One inode under both names: when dpkg finds the new file to be the
		// same as the old one it drops the new name.
		if err := unix.Linkat(d.fd, name, d.fd, final, 0); err != nil {
			return existing(final, err)
		}
		j.tree.note(dir, final)
	}
	return nil
}

// copy writes body to fd.
func (j *unpackJob) copy(fd int, body io.Reader, sum hash.Hash) error {
	for {
		n, err := body.Read(j.buf)
		for b := j.buf[:n]; len(b) > 0; {
			w, err := unix.Write(fd, b)
			if err != nil {
				return fmt.Errorf("writing: %w", err)
			}
			b = b[w:]
		}
		if sum != nil {
			sum.Write(j.buf[:n])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the package: %w", err)
		}
	}
}

// symlink makes a symbolic link. A link that is there already is replaced in
// one step, because others may be walking through it.
func (j *unpackJob) symlink(d *directory, dir, name string, h *tar.Header) error {
	err := unix.Symlinkat(h.Linkname, d.fd, name)
	if errors.Is(err, unix.EEXIST) {
		old := make([]byte, len(h.Linkname)+1)
		if n, rerr := unix.Readlinkat(d.fd, name, old); rerr == nil && bytes.Equal(old[:n], []byte(h.Linkname)) {
			return j.linkAttributes(d, name, h)
		}
		err = j.replaceLink(d, name, h.Linkname)
	}
	if err != nil {
		return existing(name, err)
	}
	j.tree.note(dir, name)
	return j.linkAttributes(d, name, h)
}

func (j *unpackJob) linkAttributes(d *directory, name string, h *tar.Header) error {
	if err := j.tree.chown(d.fd, name, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("setting its owner: %w", err)
	}
	if err := unix.UtimesNanoAt(d.fd, name, times(h), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("setting its time: %w", err)
	}
	return nil
}

func (j *unpackJob) replaceLink(d *directory, name, target string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return conflict("%s ships a link where a directory is: %s", j.pkg, name)
	}
	tmp := name + ".dpkg-new"
	if err := unix.Symlinkat(target, d.fd, tmp); err != nil {
		return err
	}
	return unix.Renameat(d.fd, tmp, d.fd, name)
}

// hardLink makes another name of a file that the archive brought before.
func (j *unpackJob) hardLink(d *directory, dir, name string, h *tar.Header) error {
	p, err := clean(h.Linkname)
	if err != nil {
		return err
	}
	if _, diverted := j.diversions["/"+p]; diverted || j.conffiles["/"+p] || excluded(j.rules, "/"+p, false) {
		return conflict("%s has a hard link to a file that is kept elsewhere: /%s", j.pkg, p)
	}
	from, err := j.tree.dir(path.Dir(p))
	if err != nil {
		return err
	}
	if err := unix.Linkat(from.fd, path.Base(p), d.fd, name, 0); err != nil {
		return existing(name, err)
	}
	j.tree.note(dir, name)
	if sum, ok := j.out.md5["/"+p]; ok {
		j.out.md5["/"+path.Clean(strings.TrimLeft(h.Name, "/"))] = sum
	}
	return nil
}

// existing turns the error for something unexpected in the way into a
// conflict, which dpkg can sort out.
func existing(name string, err error) error {
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOTEMPTY) {
		return conflict("something is in the way of %s: %v", name, err)
	}
	var c *conflictError
	if errors.As(err, &c) {
		return err
	}
	return &os.PathError{Op: "create", Path: name, Err: err}
}

func times(h *tar.Header) []unix.Timespec {
	t := unix.NsecToTimespec(h.ModTime.UnixNano())
	return []unix.Timespec{t, t}
}
