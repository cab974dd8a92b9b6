package sandbox

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempt is one way to get at what is outside of a sandbox. try returns nil if
// it has succeeded.
type attempt struct {
	name     string
	harmless bool // can be tried outside, and succeeds there for any user
	want     []unix.Errno
	try      func(p *prey) error
}

var (
	absent    = wantErrors(unix.ENOENT, unix.ENOTDIR)
	forbidden = wantErrors(unix.EPERM, unix.EACCES)
	// A kernel may be built without modules.
	withoutModules = append(wantErrors(unix.ENOSYS), forbidden...)
)

// attempts are all of them. Those on the kernel would do no more than fail with
// another error even where they are allowed, or hit only a private namespace.
var attempts = append(append(append(fileAttempts, mountAttempts...), processAttempts...), kernelAttempts...)

var fileAttempts = []attempt{
	{"read a file of the host", true, absent, func(p *prey) error { return readSecret(p.Dir + "/secret") }},
	{"follow an absolute link in the tree", true, absent, func(p *prey) error { return readSecret(p.tree() + "/link/secret") }},
	{"follow a relative link in the tree", true, absent, func(p *prey) error { return readSecret(p.tree() + "/up/secret") }},
	{"climb out of the tree", false, absent, func(p *prey) error { return readSecret("/buildroot/" + strings.Repeat("../", 30) + p.Dir + "/secret") }},
	{"climb out of the output directory", false, absent, func(p *prey) error { return readSecret("/work/out/../../host/secret") }},
	{"read the host's passwords", false, absent, func(*prey) error { return readAny("/etc/shadow") }},
	{"list root's home", false, absent, func(*prey) error { return listAny("/root") }},
	{"list the homes", false, absent, func(*prey) error { return listAny("/home") }},
	{"read the host's journal", false, absent, func(*prey) error { return listAny("/var/log/journal") }},
	{"list the host's runtime directory", false, absent, func(*prey) error { return listAny("/run/systemd") }},
	{"write to /usr", false, wantErrors(unix.EROFS), func(*prey) error { return writeAny("/usr/escaped") }},
	{"write to /usr by way of /proc", false, wantErrors(unix.EROFS), func(*prey) error { return writeAny("/proc/self/root/usr/escaped") }},
	{"write to the sources", false, wantErrors(unix.EROFS), func(*prey) error { return writeAny("/work/src/escaped") }},
	{"link a host's program into the tree", false, wantErrors(unix.EXDEV), func(*prey) error { return os.Link("/usr/bin/env", "/buildroot/env") }},
	{"move the output directory away", false, wantErrors(unix.EBUSY), func(*prey) error { return os.Rename("/work/out", "/work/elsewhere") }},
	{"use inherited descriptors", false, wantErrors(unix.EBADF), useDescriptors},
	{"open by handle", false, wantErrors(unix.EPERM, unix.ESTALE), openByHandle},
	{"escape from a chroot by a descriptor", false, absent, escapeChroot},
	{"read the control groups", false, absent, func(*prey) error { return listAny("/sys/fs/cgroup") }},
}

var mountAttempts = []attempt{
	{"remount /usr writable", false, forbidden, func(*prey) error { return remount("/usr") }},
	{"remount the sources writable", false, forbidden, func(*prey) error { return remount("/work/src") }},
	{"clear the read-only attribute", false, forbidden, func(*prey) error {
		return unix.MountSetattr(unix.AT_FDCWD, "/usr", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	}},
	{"remount from yet another user namespace", false, forbidden, remountNested},
	{"unmount /usr", false, wantErrors(unix.EINVAL), func(*prey) error { return unix.Unmount("/usr", unix.MNT_DETACH) }},
	{"unmount the lid of a device", false, wantErrors(unix.EINVAL), func(*prey) error { return unix.Unmount("/dev/null", unix.MNT_DETACH) }},
	{"move /usr", false, wantErrors(unix.EINVAL), func(*prey) error { return unix.Mount("/usr", "/tmp", "", unix.MS_MOVE, "") }},
	{"bind what is below the mounts", false, wantErrors(unix.EINVAL), func(*prey) error { return unix.Mount("/", "/tmp", "", unix.MS_BIND, "") }},
	{"mount a disk", false, forbidden, func(*prey) error { return unix.Mount("/dev/vda", "/tmp", "ext4", 0, "") }},
	{"mount the control groups", false, forbidden, func(*prey) error { return unix.Mount("none", "/tmp", "cgroup2", 0, "") }},
	{"mount the devices", false, forbidden, func(*prey) error { return unix.Mount("none", "/tmp", "devtmpfs", 0, "") }},
	{"mount debugfs", false, forbidden, func(*prey) error { return unix.Mount("none", "/tmp", "debugfs", 0, "") }},
	{"make and open a disk", false, forbidden, func(*prey) error { return openNode(unix.S_IFBLK, unix.Mkdev(254, 0)) }},
	{"make and open the memory", false, forbidden, func(*prey) error { return openNode(unix.S_IFCHR, unix.Mkdev(1, 1)) }},
	{"open a disk", false, absent, func(*prey) error { return readAny("/dev/vda") }},
	{"open the kernel's log", false, absent, func(*prey) error { return readAny("/dev/kmsg") }},
	{"get a loop device", false, absent, func(*prey) error { return writeAny("/dev/loop-control/x") }},
}

var processAttempts = []attempt{
	{"signal a process of the host", true, wantErrors(unix.ESRCH), func(p *prey) error { return unix.Kill(p.Process, 0) }},
	{"read a process's environment", true, absent, func(p *prey) error { return readSecret(procFile(p.Process, "environ")) }},
	{"enter a process's mounts", false, absent, func(p *prey) error { return enterNamespace(p.Process, "mnt", unix.CLONE_NEWNS) }},
	{"enter the sandbox's outer mounts", false, forbidden, func(*prey) error { return enterNamespace(1, "mnt", unix.CLONE_NEWNS) }},
	{"enter the outer user namespace", false, forbidden, func(*prey) error { return enterNamespace(1, "user", unix.CLONE_NEWUSER) }},
	{"enter the outer host name", false, forbidden, func(*prey) error { return enterNamespace(1, "uts", unix.CLONE_NEWUTS) }},
	{"ask for the outer user namespace", false, forbidden, func(*prey) error {
		return namespaceIoctl("user", unix.NS_GET_PARENT)
	}},
	{"ask for the owner of the process namespace", false, forbidden, func(*prey) error {
		return namespaceIoctl("pid", unix.NS_GET_USERNS)
	}},
	{"look through the first process's root", false, forbidden, func(*prey) error { return listAny("/proc/1/root/") }},
	{"read the first process's environment", false, forbidden, func(*prey) error { return readAny("/proc/1/environ") }},
	{"open the first process's memory", false, forbidden, func(*prey) error { return readAny("/proc/1/mem") }},
	{"read the first process's memory", false, forbidden, readFirstMemory},
	{"trace the first process", false, forbidden, func(*prey) error { return syscall.PtraceAttach(1) }},
	{"take the first process's descriptors", false, forbidden, takeDescriptor},
	{"connect to a server", true, wantErrors(unix.ECONNREFUSED), func(p *prey) error { return connect("tcp", p.Address) }},
	{"connect to an abstract socket", true, wantErrors(unix.ECONNREFUSED), func(p *prey) error { return connect("unix", p.Abstract) }},
	{"reach the internet", false, wantErrors(unix.ENETUNREACH), func(*prey) error { return connect("udp", "192.0.2.1:53") }},
	{"attach shared memory", true, wantErrors(unix.EINVAL), func(p *prey) error { _, err := unix.SysvShmAttach(p.Segment, 0, 0); return err }},
	{"open a message queue", true, absent, func(p *prey) error { _, err := openQueue(p.Queue, unix.O_RDWR); return err }},
	{"read a key by number", true, append(wantErrors(unix.ENOKEY), forbidden...), func(p *prey) error {
		_, err := unix.KeyctlBuffer(unix.KEYCTL_READ, p.Key, make([]byte, 16), 0)
		return err
	}},
	{"find a key by name", true, wantErrors(unix.ENOKEY), func(*prey) error {
		_, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", "mkosi-test", 0)
		return err
	}},
}

var kernelAttempts = []attempt{
	{"set the handler of crashes", false, append(wantErrors(unix.EROFS), forbidden...), func(*prey) error { return openToWrite("/proc/sys/kernel/core_pattern") }},
	{"set it in a /proc of one's own", false, append(wantErrors(unix.EROFS), forbidden...), ownProc},
	{"press a magic key", false, append(wantErrors(unix.EROFS, unix.ENOENT), forbidden...), func(*prey) error { return openToWrite("/proc/sysrq-trigger") }},
	{"load a module", false, withoutModules, func(*prey) error { return unix.InitModule([]byte("no module"), "") }},
	{"unload a module", false, withoutModules, func(*prey) error { return unix.DeleteModule("no module", 0) }},
	{"reboot", false, forbidden, func(*prey) error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) }},
	{"set the clock", false, forbidden, func(*prey) error {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil {
			return err
		}
		return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
	}},
	{"adjust the clock", false, forbidden, func(*prey) error { _, err := unix.Adjtimex(&unix.Timex{Modes: 1}); return err }},
	{"list programs in the kernel", false, forbidden, func(*prey) error { return bpfNextMap() }},
	{"watch the whole system", false, forbidden, func(*prey) error {
		attr := &unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
		_, err := unix.PerfEventOpen(attr, -1, 0, -1, 0)
		return err
	}},
	{"decide about others' file access", false, forbidden, func(*prey) error { _, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT, 0); return err }},
	{"keep accounts", false, forbidden, func(*prey) error { return unix.Acct("") }},
	{"swap", false, forbidden, func(*prey) error { return raw(unix.SYS_SWAPON, "/tmp") }},
	{"quiet the kernel's log", false, forbidden, func(*prey) error {
		const consoleLevel = 8
		_, _, errno := unix.Syscall(unix.SYS_SYSLOG, consoleLevel, 0, 7)
		return orNil(errno)
	}},
	{"raise the limit of open files beyond the hard one", false, forbidden, func(*prey) error {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
		limit.Max++
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}},
}

// tree is where the tree is.
func (p *prey) tree() string {
	if p.Host {
		return p.Tree
	}
	return "/buildroot"
}

func readAny(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 16))
	return err
}

func listAny(name string) error {
	_, err := os.ReadDir(name)
	return err
}

func writeAny(name string) error { return os.WriteFile(name, []byte("escaped"), 0o644) }

// openToWrite writes nothing, in case that it could.
func openToWrite(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

func orNil(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// raw makes a system call that takes a name.
func raw(nr uintptr, name string) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall(nr, uintptr(unsafe.Pointer(p)), 0, 0)
	return orNil(errno)
}

// useDescriptors looks for the secret beside every directory that is open.
func useDescriptors(*prey) error {
	for fd := 3; fd < 100; fd++ {
		for _, name := range []string{"secret", "../secret", "../host/secret"} {
			if _, err := unix.Openat(fd, name, unix.O_RDONLY, 0); err != unix.EBADF && err != unix.ENOTDIR {
				return err
			}
		}
	}
	return unix.EBADF
}

func openByHandle(p *prey) error {
	at, err := unix.Open("/buildroot", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	fd, err := unix.OpenByHandleAt(at, unix.NewFileHandle(p.Type, p.Handle), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	_, err = unix.Openat(fd, "secret", unix.O_RDONLY, 0)
	return err
}

func escapeChroot(p *prey) error {
	root, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot("/buildroot"), unix.Fchdir(root)); err != nil {
		return err
	}
	for range 50 {
		if err := unix.Chdir(".."); err != nil {
			return err
		}
	}
	return readSecret("." + p.Dir + "/secret")
}

func remount(target string) error {
	return unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND, "")
}

// remountNested has another process do it, in namespaces of its own.
func remountNested(*prey) error {
	cmd := exec.Command("/helper", "remount /usr writable")
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS}
	singleUser(cmd.SysProcAttr)
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.Fields(string(out))[0])
	if err != nil {
		return nil // it is out
	}
	return unix.Errno(n)
}

// openNode makes a device in the tree and opens it.
func openNode(kind uint32, device uint64) error {
	const name = "/buildroot/node"
	if err := unix.Mknod(name, kind|0o600, int(device)); err != nil {
		return err
	}
	defer os.Remove(name)
	return readAny(name)
}

func enterNamespace(pid int, name string, kind int) error {
	fd, err := unix.Open(procFile(pid, "ns/"+name), unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Setns(fd, kind)
}

// namespaceIoctl asks for a relative of one of this process's namespaces.
func namespaceIoctl(name string, request uint) error {
	fd, err := unix.Open("/proc/self/ns/"+name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_, err = unix.IoctlRetInt(fd, request)
	return err
}

func readFirstMemory(*prey) error {
	buf := make([]byte, 16)
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	_, err := unix.ProcessVMReadv(1, local, []unix.RemoteIovec{{Base: 0x400000, Len: len(buf)}}, 0)
	return err
}

func takeDescriptor(*prey) error {
	fd, err := unix.PidfdOpen(1, 0)
	if err != nil {
		return err
	}
	_, err = unix.PidfdGetfd(fd, 0, 0)
	return err
}

func connect(network, address string) error {
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	return c.Close()
}

// ownProc makes a new /proc, in which nothing is covered.
func ownProc(*prey) error {
	if err := unix.Mount("proc", "/tmp", "proc", 0, ""); err != nil {
		return err
	}
	return openToWrite("/tmp/sys/kernel/core_pattern")
}

// bpfNextMap asks for the number of the first map; see bpf(2).
func bpfNextMap() error {
	const mapGetNextID = 12
	var attr [128]byte
	_, _, errno := unix.Syscall(unix.SYS_BPF, mapGetNextID, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	return orNil(errno)
}

// openQueue opens a POSIX message queue; see mq_open(3).
func openQueue(name string, flags int) (int, error) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags), 0o600, 0, 0, 0)
	return int(fd), orNil(errno)
}

func unlinkQueue(name string) error { return raw(unix.SYS_MQ_UNLINK, name) }
