package sandbox

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/host"
)

func TestCmdUsed(t *testing.T) {
	dir := t.TempDir()
	run := func(script string) (used Usage) {
		t.Helper()
		calls := 0
		cmd := &Cmd{
			Args: []string{"sh", "-c", script},
			Ops:  append(HostUsr(), Bind(dir, "/data")),
			Used: func(u Usage) { used, calls = u, calls+1 },
		}
		if err := cmd.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if calls != 1 {
			t.Errorf("Used was called %d times", calls)
		}
		return used
	}
	idle := run("sleep 0.2")
	// A process that the command does not wait for counts as well, since the first process does.
	const count = "i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done; : >/tmp/done"
	busy := run("(" + count + ") & while [ ! -e /tmp/done ]; do sleep 0.1; done; sleep 0.1")
	if busy.CPU < idle.CPU+50*time.Millisecond {
		t.Errorf("sleeping used %v, and counting to 500000 %v", idle.CPU, busy.CPU)
	}
	writing := run("head -c 3145728 /dev/zero >/data/zeros")
	if onDisk(t, dir) && writing.Written < 3145728 {
		t.Errorf("it wrote 3145728 bytes, and %d were counted", writing.Written)
	}
	if idle.Written > 1<<20 {
		t.Errorf("it wrote nothing, and %d were counted", idle.Written)
	}
}

// onDisk reports whether dir is on a file system of which the kernel counts what is written.
func onDisk(t *testing.T, dir string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	_, counted := host.BytesWritten()
	return counted && (fs.Type == unix.EXT4_SUPER_MAGIC || fs.Type == unix.BTRFS_SUPER_MAGIC || fs.Type == unix.XFS_SUPER_MAGIC)
}
