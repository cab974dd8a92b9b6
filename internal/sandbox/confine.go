package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A confined command runs in a user namespace of its own, made after the root
// directory: the kernel then locks all mounts as they are, and the command's
// capabilities count for its own namespaces and files only. The first process
// starts this binary once more in the new namespaces, gives these their IDs, and
// that second process becomes the command. It takes a process of ours, since
// only from inside can capabilities be dropped there.

// confinedRole is the name under which this binary runs as that process. Its one
// argument is the number of the command's extra files. These are followed by the
// descriptors of the instructions, of the report and of a pipe that gives a byte
// when the namespace has its IDs.
const confinedRole = "mkosi: confined"

// confinedCapabilities are what the second process needs before its user
// namespace has IDs, and so a root with all capabilities: to drop some, to set
// the host name, and to bring up the loopback device.
var confinedCapabilities = []uintptr{unix.CAP_SETPCAP, unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}

// startConfined starts the second process with these descriptors and returns its
// process ID. What goes wrong in it from then on it reports itself.
func startConfined(s *spec, files []uintptr) (int, error) {
	uids, gids, err := identityMaps()
	if err != nil {
		return 0, err
	}
	var ready [2]int
	if err := unix.Pipe2(ready[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(ready[1])
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWNS | privateNamespaces)
	if s.flags&flagNetwork == 0 {
		flags |= unix.CLONE_NEWNET
	}
	pidfd := -1
	attr := s.processAttributes()
	attr.Cloneflags, attr.AmbientCaps, attr.PidFD = flags, confinedCapabilities, &pidfd
	pid, err := syscall.ForkExec(self, []string{confinedRole, strconv.Itoa(s.extraFiles)}, &syscall.ProcAttr{
		Env:   []string{},
		Files: append(files, specFD, reportFD, uintptr(ready[0])),
		Sys:   attr,
	})
	unix.Close(ready[0])
	if err != nil {
		return 0, explainForbidden(fmt.Errorf("confining the command to a user namespace: %w", err), "/proc/sys")
	}
	defer unix.Close(pidfd)
	if err := writeMaps(pidfd, uids, gids); err != nil {
		return 0, fmt.Errorf("giving the command's user namespace its IDs: %w", err)
	}
	_, err = unix.Write(ready[1], []byte{0})
	return pid, err
}

// identityMaps are user and group ID maps that map every ID of this process's
// user namespace to itself; see user_namespaces(7).
func identityMaps() (uids, gids []byte, err error) {
	uids, uidErr := identityMap("/proc/self/uid_map")
	gids, gidErr := identityMap("/proc/self/gid_map")
	err = errors.Join(uidErr, gidErr)
	if missing(err) {
		err = fmt.Errorf("a confined command needs a Proc at /proc: %w", err)
	}
	return uids, gids, err
}

func identityMap(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var m bytes.Buffer
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("reading %s: unexpected %q", file, line)
		}
		fmt.Fprintln(&m, f[0], f[0], f[2])
	}
	return m.Bytes(), nil
}

// writeMaps gives the user namespace of a process its IDs. Which number that
// process has in /proc depends on whose /proc it is.
func writeMaps(pidfd int, uids, gids []byte) error {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(info), "\nPid:")
	pid, _, _ := strings.Cut(rest, "\n")
	dir := "/proc/" + strings.TrimSpace(pid)
	return errors.Join(writeMap(dir+"/uid_map", uids), writeMap(dir+"/gid_map", gids))
}

// writeMap writes a map at once, as the kernel wants it.
func writeMap(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// confinedMain is the life of the second process until it is the command.
func confinedMain() {
	runtime.LockOSThread() // capabilities are a matter of a thread
	if len(os.Args) != 2 {
		unix.Exit(exitInternal)
	}
	extra, err := strconv.Atoi(os.Args[1])
	if err != nil {
		unix.Exit(exitInternal)
	}
	instructions := firstExtra + extra
	report, ready := instructions+1, instructions+2
	for _, fd := range []int{instructions, report, ready} {
		unix.CloseOnExec(fd)
	}
	err = becomeCommand(instructions, ready)
	sendFailed(report, err)
	unix.Exit(exitInternal)
}

// becomeCommand returns only if something went wrong.
func becomeCommand(instructions, ready int) error {
	s, err := readSpec(instructions)
	if err != nil {
		return err
	}
	if err := settle(s); err != nil {
		return err
	}
	var buf [1]byte
	if n, err := unix.Read(ready, buf[:]); err != nil || n == 0 {
		return errors.New("the command's user namespace got no IDs")
	}
	if err := dropCapabilities(s.capabilities); err != nil {
		return err
	}
	// As root, the command gets the others by being executed.
	if err := dropInheritable(); err != nil {
		return err
	}
	program, err := lookPath(s.args[0], s.env)
	if err != nil {
		return err
	}
	return startingError(program, syscall.Exec(program, s.args, s.env))
}
