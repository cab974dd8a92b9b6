package sandbox

import (
	"io/fs"
	"os"
	"strings"
)

// Op is one step in assembling the root directory of a [Cmd]. Steps are taken
// in order, starting from an empty tmpfs; later ones see and may cover what
// earlier ones made. Missing parent directories of a target are created with
// mode 0755. Targets are absolute paths in the sandbox, resolved as in a
// chroot: no symbolic link in the sandbox leads out of it. Sources are paths of
// the caller's own view.
//
// Make one with the constructors; the zero value is refused by [Cmd.Run].
type Op struct {
	kind     opKind
	source   string // bind: what is mounted; symlink: where it points
	target   string
	data     []byte
	mode     uint32 // permission bits as the kernel counts them
	size     int64
	overlay  OverlayLayers
	readOnly bool
	try      bool
	noFollow bool
	inside   bool
	lasting  bool
	mount    *os.File // detached mount
}

type opKind uint8

const (
	opBind opKind = 1 + iota
	opOverlay
	opTmpfs
	opDir
	opSymlink
	opWriteFile
	opDev
	opProc
	opMount
	opEnd // one past the last
)

// OverlayLayers are the directories that an overlay shows as one.
type OverlayLayers struct {
	Lower []string // read-only layers, topmost first; at least one
	Upper string   // where changes go; none: the overlay is read-only
	Work  string   // directory on the file system of Upper, for the kernel's use only; wanted with Upper
	// Ephemeral has changes go to memory and vanish with the sandbox. Upper and Work are empty then.
	Ephemeral bool
}

// Bind mounts the file or directory source, with everything mounted below it,
// at target. A directory goes to the directory that target leads to; anything
// else covers target itself, even if that is a symbolic link. A missing target
// is created; if that happens in a directory of the caller's (and not in the
// sandbox's own tmpfs), it is removed again after the command, unless the
// command left something in it.
func Bind(source, target string) Op {
	return Op{kind: opBind, source: source, target: target}
}

// BindReadOnly is [Bind], but nothing below target can be written.
func BindReadOnly(source, target string) Op {
	return Op{kind: opBind, source: source, target: target, readOnly: true}
}

// Overlay mounts an overlay of the layers at target. What the command changes
// is in layers.Upper afterwards: see [IsWhiteout] and [IsOpaque].
func Overlay(layers OverlayLayers, target string) Op {
	return Op{kind: opOverlay, overlay: layers, target: target}
}

// Tmpfs mounts an empty tmpfs at target, with the root directory's mode 1777
// if target is called tmp, else 0755.
func Tmpfs(target string) Op {
	return Op{kind: opTmpfs, target: target, mode: tmpMode(target)}
}

// Dir creates the directory target with these permissions unless there is one.
// The set-user-ID, set-group-ID and sticky bits of mode count.
func Dir(target string, mode fs.FileMode) Op {
	return Op{kind: opDir, target: target, mode: unixMode(mode)}
}

// Symlink creates a symbolic link at target that says linkTo, whatever that is.
// An equal link that is already there is left alone; anything else is covered
// by the link, and is there again afterwards.
func Symlink(linkTo, target string) Op {
	return Op{kind: opSymlink, source: linkTo, target: target}
}

// WriteFile creates the file target with this content and these permissions,
// or replaces its content.
func WriteFile(target string, data []byte, mode fs.FileMode) Op {
	return Op{kind: opWriteFile, target: target, data: data, mode: unixMode(mode)}
}

// Dev mounts a private /dev at target: null, zero, full, random, urandom and
// tty, the links to the standard streams, a private /dev/shm and, where the
// kernel allows it, private pseudo terminals. No actual device is in it.
func Dev(target string) Op {
	return Op{kind: opDev, target: target}
}

// Proc mounts a /proc at target that shows the processes of the sandbox alone.
// For real root the kernel's settings in it are read-only.
// Where the kernel refuses that (a container with parts of /proc covered up),
// the caller's own /proc is bound there instead.
func Proc(target string) Op {
	return Op{kind: opProc, target: target}
}

// Try returns o with the wish to do nothing if its source does not exist.
func (o Op) Try() Op { o.try = true; return o }

// NoFollow returns o with the wish to mount the source itself if it is a
// symbolic link, not what it points to.
func (o Op) NoFollow() Op { o.noFollow = true; return o }

// Inside returns o with its source taken as a path of the sandbox, as far as
// it has been assembled by the operations before.
func (o Op) Inside() Op { o.inside = true; return o }

// Lasting returns o with the wish that what it makes in a directory of the
// caller's stays there: a file is written where target leads, a symbolic link
// is made in its place if there is nothing, and an overlay's changes are synced
// to disk and marked in the way that any user's overlay understands.
func (o Op) Lasting() Op { o.lasting = true; return o }

// Mount attaches a detached mount, as of open_tree(2), at target, under the
// rules of [Bind]. The file stays the caller's to close. It is for [Enter] only:
// a [Cmd] refuses it.
func Mount(mount *os.File, target string) Op {
	return Op{kind: opMount, mount: mount, target: target}
}

// String describes o for a log of what is done.
func (o Op) String() string {
	var s string
	switch o.kind {
	case opBind:
		s = "bind " + o.source + " to " + o.target
	case opOverlay:
		s = "overlay of " + strings.Join(o.overlay.Lower, ", ") + " at " + o.target
		if o.overlay.Ephemeral {
			s += " with changes in memory"
		}
		if o.overlay.Upper != "" {
			s += " with changes in " + o.overlay.Upper
		}
	case opTmpfs:
		s = "tmpfs at " + o.target
	case opDir:
		s = "directory " + o.target
	case opSymlink:
		s = "symbolic link " + o.target + " to " + o.source
	case opWriteFile:
		s = "file " + o.target
	case opDev:
		s = "devices at " + o.target
	case opProc:
		s = "processes at " + o.target
	case opMount:
		s = "mount of a service at " + o.target
	default:
		s = "unknown operation"
	}
	for _, word := range []struct {
		on   bool
		text string
	}{{o.readOnly, "read-only"}, {o.try, "if it exists"}, {o.noFollow, "not following links"}, {o.inside, "from inside"}} {
		if word.on {
			s += ", " + word.text
		}
	}
	return s
}

// unixMode converts permissions to the kernel's bits.
func unixMode(m fs.FileMode) uint32 {
	u := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		u |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		u |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		u |= 0o1000
	}
	return u
}
