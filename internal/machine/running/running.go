// Package running is the list of the virtual machines that run: whoever runs one enters it, and whoever wants to talk to
// one finds out how to reach it.
//
// Each machine has a file in a directory that only its user can read, and a lock on it for as long as it runs. The kernel
// drops the lock with the process that holds it, so that a machine that was killed is not taken for a running one.
package running

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Machine says how a running machine is reached.
type Machine struct {
	Name  string // Machine=, or the image's name
	Image string // path of the image
	// CID is its address over VSOCK; 0 if it has none.
	CID uint32 `json:",omitempty"`
	// SSHPorts are ports of 127.0.0.1 that lead to ports of the guest where its sshd may be, the likelier one first.
	SSHPorts []uint16 `json:",omitempty"`
}

// maxEntry is how long a file of the directory may be.
const maxEntry = 64 << 10

// Dir returns the directory for the machines of a user: /run/mkosi for root, and for others mkosi/ in $XDG_RUNTIME_DIR, else
// in /run/user/UID. Root's variable may be that of another user, whose directory root must not use.
func Dir(uid int, environment map[string]string) (string, error) {
	if uid == 0 {
		return "/run/mkosi", nil
	}
	dir := environment["XDG_RUNTIME_DIR"]
	if !filepath.IsAbs(dir) {
		dir = fmt.Sprintf("/run/user/%d", uid)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("there is no directory for the state of running machines: XDG_RUNTIME_DIR is not set to one, and %s is none", dir)
	}
	return filepath.Join(dir, "mkosi"), nil
}

// private makes the directory, and refuses one that others could write to.
func private(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the directory for running machines: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("looking at the directory for running machines: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s must be a directory that nobody else can use (mode 0700)", dir)
	}
	return nil
}

// entry is the path of a machine's file. Every name is a file name then.
func entry(dir, name string) string {
	return filepath.Join(dir, strings.ReplaceAll(url.QueryEscape(name), ".", "%2E")+".machine")
}

// AlreadyRunningError is the error of [Enter] for a name that is taken.
type AlreadyRunningError struct{ Name string }

func (e *AlreadyRunningError) Error() string {
	return fmt.Sprintf("a machine named %s is running already", e.Name)
}

// Entry is a machine in the list.
type Entry struct{ file *os.File }

// Enter puts a machine into the list, until the entry is closed or this process ends. A name that is taken is an
// [AlreadyRunningError].
func Enter(dir string, m Machine) (*Entry, error) {
	if err := private(dir); err != nil {
		return nil, err
	}
	path := entry(dir, m.Name)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("entering the machine into the list of running ones: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if err == unix.EWOULDBLOCK {
				return nil, &AlreadyRunningError{m.Name}
			}
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !same(f, path) { // its last owner has just removed it
			f.Close()
			continue
		}
		e := &Entry{f}
		if err := e.Update(m); err != nil {
			return nil, errors.Join(err, e.Close())
		}
		return e, nil
	}
}

// same reports whether a path still leads to an open file.
func same(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, there)
}

// Update changes what the list says about the machine. Its name stays.
func (e *Entry) Update(m Machine) error {
	data, err := json.Marshal(m)
	if err == nil {
		err = e.file.Truncate(0)
	}
	if err == nil {
		_, err = e.file.WriteAt(data, 0)
	}
	if err != nil {
		return fmt.Errorf("entering the machine into the list of running ones: %w", err)
	}
	return nil
}

// Close takes the machine out of the list.
func (e *Entry) Close() error {
	return errors.Join(os.Remove(e.file.Name()), e.file.Close())
}

// NotRunningError is the error of [Find].
type NotRunningError struct {
	Name   string
	Others []string // that do run, by name
}

func (e *NotRunningError) Error() string {
	return fmt.Sprintf("no machine named %s is running", e.Name)
}

// Hint says what to do about it.
func (e *NotRunningError) Hint() string {
	if len(e.Others) > 0 {
		return "choose one of those that run with --machine=NAME: " + strings.Join(e.Others, ", ")
	}
	return "start it with mkosi vm, as the same user"
}

// Find returns the running machine of that name, or a [NotRunningError].
func Find(dir, name string) (Machine, error) {
	m, ok, err := read(entry(dir, name))
	if err != nil || ok {
		return m, err
	}
	others, err := List(dir)
	if err != nil {
		return Machine{}, err
	}
	missing := &NotRunningError{Name: name}
	for _, m := range others {
		missing.Others = append(missing.Others, m.Name)
	}
	return Machine{}, missing
}

// List returns the running machines, ordered by name.
func List(dir string) ([]Machine, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.machine"))
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	var list []Machine
	for _, path := range paths {
		m, ok, err := read(path)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, m)
		}
	}
	return list, nil
}

// read returns the machine of a file; ok is false if it does not run.
func read(path string) (m Machine, ok bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Machine{}, false, nil
	}
	if err != nil {
		return Machine{}, false, fmt.Errorf("looking for running machines: %w", err)
	}
	defer f.Close()
	// Nobody else holds a lock of a machine that has ended.
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err {
	case unix.EWOULDBLOCK:
	case nil:
		return Machine{}, false, nil
	default:
		return Machine{}, false, fmt.Errorf("locking %s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEntry))
	if err != nil {
		return Machine{}, false, fmt.Errorf("looking for running machines: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return Machine{}, false, fmt.Errorf("the machine of %s is just being started or is no machine: %w", path, err)
	}
	return m, true, nil
}
