package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// singleUser has a process cloned into a user namespace that knows nobody but
// the caller, as root.
func singleUser(attr *unix.SysProcAttr) {
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
}

// firstUserNamespace is the inode number that the system's first user namespace
// always has. Its ID map says nothing: others may have the same.
const firstUserNamespace = 0xeffffffd

// inUserNamespace reports whether this process is in another user namespace
// than the system's first one. Without a /proc it says yes, which takes less for
// granted.
func inUserNamespace() bool {
	var st unix.Stat_t
	err := unix.Stat("/proc/self/ns/user", &st)
	return err != nil || st.Ino != firstUserNamespace
}

// mapsOneUser reports whether the user namespace of this process has only one
// user.
func mapsOneUser() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(data))
	return err == nil && len(f) == 3 && f[2] == "1"
}

// neededIDs is how many subordinate IDs a session needs: with the caller as
// root, all of the 16 bits that images use, nobody (65534) included.
const neededIDs = 1<<16 - 1

// idMaps are how the IDs of a user namespace are given to it: the caller is
// root, and its subordinate range follows.
type idMaps struct {
	uidTool, gidTool   string // newuidmap(1), newgidmap(1)
	uidStart, gidStart int64
}

// subordinateIDs finds the caller's ranges and the programs that may use them.
// Its error says what is missing.
func subordinateIDs() (*idMaps, error) {
	var ids idMaps
	var err error
	if ids.uidTool, err = exec.LookPath("newuidmap"); err != nil {
		return nil, errors.New("newuidmap is not installed")
	}
	if ids.gidTool, err = exec.LookPath("newgidmap"); err != nil {
		return nil, errors.New("newgidmap is not installed")
	}
	uid := os.Getuid()
	names := []string{strconv.Itoa(uid)}
	if u, err := user.LookupUid(uid); err == nil {
		names = append(names, u.Name)
	}
	if ids.uidStart, err = subordinateRange("/etc/subuid", names); err != nil {
		return nil, err
	}
	if ids.gidStart, err = subordinateRange("/etc/subgid", names); err != nil {
		return nil, err
	}
	return &ids, nil
}

// subordinateRange returns the start of the first range in file (subuid(5)) that
// belongs to a user with one of the names and is large enough.
func subordinateRange(file string, names []string) (int64, error) {
	ranges, err := user.ParseSubIDFileFilter(file, func(id user.SubID) bool {
		return id.Count >= neededIDs && (id.Name == names[0] || id.Name == names[len(names)-1])
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(ranges) == 0 {
		return 0, fmt.Errorf("%s has no range of %d IDs for %s", file, neededIDs, names[len(names)-1])
	}
	return ranges[0].SubID, nil
}

// write gives the IDs to the user namespace of process pid.
func (m *idMaps) write(pid int) error {
	for _, t := range []struct {
		tool  string
		id    int
		start int64
	}{{m.uidTool, os.Getuid(), m.uidStart}, {m.gidTool, os.Getgid(), m.gidStart}} {
		cmd := exec.Command(t.tool, strconv.Itoa(pid),
			"0", strconv.Itoa(t.id), "1",
			"1", strconv.FormatInt(t.start, 10), strconv.Itoa(neededIDs))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s failed: %w: %s", filepath.Base(t.tool), err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// startError makes an error of a failure to start the first process.
func startError(err error, userNamespace bool) error {
	err = fmt.Errorf("making namespaces: %w", err)
	if userNamespace {
		return explainForbidden(err, "/proc/sys")
	}
	return err
}

// privateMounts is the first thing that is done with the powers of a user
// namespace, and so the thing that fails where these are withheld.
const privateMounts = "making mounts private"

// explainPowerless is explainForbidden for the errors of a first process.
func explainPowerless(err error) error {
	if strings.HasPrefix(err.Error(), privateMounts) {
		return explainForbidden(err, "/proc/sys")
	}
	return err
}

// explainForbidden adds to an error of making a user namespace, or of using its
// powers, which setting forbids it. procSys is /proc/sys.
func explainForbidden(err error, procSys string) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSPC) {
		return err
	}
	setting := func(name string) string {
		data, _ := os.ReadFile(filepath.Join(procSys, strings.ReplaceAll(name, ".", "/")))
		return strings.TrimSpace(string(data))
	}
	const (
		limit    = "user.max_user_namespaces"
		clone    = "kernel.unprivileged_userns_clone"
		apparmor = "kernel.apparmor_restrict_unprivileged_userns"
	)
	switch {
	case setting(limit) == "0":
		return fmt.Errorf("%w: this system forbids user namespaces; allow them with: sysctl -w %s=65536", err, limit)
	case setting(clone) == "0":
		return fmt.Errorf("%w: this system forbids user namespaces to ordinary users; allow them with: sysctl -w %s=1", err, clone)
	case setting(apparmor) == "1":
		return fmt.Errorf("%w: AppArmor forbids user namespaces to this program; allow them with a profile for it that has the rule \"userns,\", or to all programs with: sysctl -w %s=0", err, apparmor)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w: there are too many user namespaces, or they are nested too deeply; the limit is: sysctl %s", err, limit)
	}
	return err
}
