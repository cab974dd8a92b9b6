package mkfs

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// writeTar writes everything in a tree but its top, and but sockets, which an
// archive cannot have, as a squashfs is to hold it.
func writeTar(ctx context.Context, w io.Writer, t content.Tree) error {
	tw := tar.NewWriter(w)
	buf := make([]byte, copySize)
	sockets := map[string]bool{}
	for i := range t[1:] {
		e := &t[i+1]
		if e.Type() == unix.S_IFSOCK || sockets[e.Link] && e.HardLink {
			if e.HardLink {
				return fmt.Errorf("/%s is a second name of a socket, which a squashfs cannot be given", e.Path)
			}
			sockets[e.Path] = true
			continue
		}
		if err := writeTarEntry(ctx, tw, e, buf); err != nil {
			return fmt.Errorf("/%s: %w", e.Path, err)
		}
	}
	return tw.Close()
}

// tarTypes are the types of entries in an archive.
var tarTypes = map[uint32]byte{
	unix.S_IFREG: tar.TypeReg,
	unix.S_IFDIR: tar.TypeDir,
	unix.S_IFLNK: tar.TypeSymlink,
	unix.S_IFCHR: tar.TypeChar,
	unix.S_IFBLK: tar.TypeBlock,
	unix.S_IFIFO: tar.TypeFifo,
}

func writeTarEntry(ctx context.Context, tw *tar.Writer, e *content.Entry, buf []byte) error {
	h := &tar.Header{
		Format: tar.FormatPAX, Name: e.Path, Typeflag: tarTypes[e.Type()], Linkname: e.Target,
		Mode: int64(e.Mode & 0o7777), Uid: int(e.UID), Gid: int(e.GID),
		ModTime:  time.Unix(squashfsTime(e), 0),
		Devmajor: int64(e.Major), Devminor: int64(e.Minor),
	}
	switch {
	case e.HardLink:
		h.Typeflag, h.Linkname = tar.TypeLink, e.Link
	case e.IsDir():
		h.Name += "/"
	case e.Type() == unix.S_IFREG:
		h.Size = e.Size
	}
	if !e.HardLink {
		h.PAXRecords = map[string]string{}
		for _, x := range e.Xattrs {
			if squashfsXattr(x.Name) {
				h.PAXRecords["SCHILY.xattr."+x.Name] = string(x.Value)
			}
		}
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if h.Size == 0 {
		return nil
	}
	return e.Pieces(ctx, buf, func(p []byte, _ int64) error {
		_, err := tw.Write(p)
		return err
	})
}
