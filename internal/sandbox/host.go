package sandbox

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// topDirs are the directories beside /usr in which programs and libraries are
// looked for. On most systems they are links into /usr.
var topDirs = []string{"/bin", "/lib", "/lib32", "/lib64", "/libo32", "/libx32", "/sbin"}

// HostUsr is [Usr] of this host.
func HostUsr() []Op { return Usr("/") }

// Usr lets a tool of the system at root run and shows it nothing else of that
// system, nor of this host: /usr and its companions read-only, the alternatives
// and the linker's cache, a private /dev and /proc, and empty /tmp, /run,
// /var/tmp and /var/log.
func Usr(root string) []Op {
	return append(Programs(root),
		Dev("/dev"),
		Proc("/proc"),
		Dir("/run", 0o755),
		Dir("/tmp", 0o777|fs.ModeSticky),
		Dir("/var/tmp", 0o777|fs.ModeSticky),
		Dir("/var/log", 0o755),
	)
}

// Programs shows the programs and libraries of the system at root: /usr and its
// companions, the alternatives and the linker's cache, read-only.
func Programs(root string) []Op {
	ops := []Op{BindReadOnly(filepath.Join(root, "usr"), "/usr")}
	for _, dir := range topDirs {
		source := filepath.Join(root, dir)
		info, err := os.Lstat(source)
		switch {
		case err != nil:
		case info.Mode()&fs.ModeSymlink != 0:
			if link, err := os.Readlink(source); err == nil {
				ops = append(ops, Symlink(link, dir))
			}
		case info.IsDir():
			ops = append(ops, BindReadOnly(source, dir))
		}
	}
	for _, name := range []string{"/etc/alternatives", "/etc/ld.so.cache"} {
		ops = append(ops, BindReadOnly(filepath.Join(root, name), name).Try())
	}
	return ops
}

// networkFiles are what a program with network needs of the host to find names
// and to check certificates.
var networkFiles = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/ca-certificates",
}

// HostNetwork adds, for steps whose [Cmd] has Network set, the host's name
// resolution and its certificates (never its private keys), read-only.
func HostNetwork() []Op {
	var ops []Op
	for _, name := range networkFiles {
		if _, err := os.Stat(name); err == nil {
			ops = append(ops, BindReadOnly(name, name).Try())
		}
	}
	return ops
}

// Chroot makes the tree at root the sandbox's own root directory, writable, to
// run the programs of an image, with a private /dev, /proc, /run and /tmp on
// top. Nothing of these reaches the tree; a mount point that the tree lacks
// exists only while the command runs. Commands that use the same tree at once
// want these directories to be there, or the first to end takes them away.
func Chroot(root string) []Op {
	return []Op{
		Bind(root, "/"),
		Dev("/dev"),
		Proc("/proc"),
		Tmpfs("/run"),
		Tmpfs("/tmp"),
	}
}

// tmpMode is the mode of a new temporary directory called target.
func tmpMode(target string) uint32 {
	if path.Base(filepath.ToSlash(target)) == "tmp" {
		return 0o1777
	}
	return 0o755
}
