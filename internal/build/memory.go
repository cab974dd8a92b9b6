package build

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
)

// errNoSpace also is what programs print when a file system is full.
var errNoSpace error = unix.ENOSPC

// memoryWanted is how much memory has to be available before a workspace is put there. Creating files in memory is
// several times faster than on a file system that has just lost as many, which is the state of a disk on which
// somebody rebuilds all day.
const memoryWanted = 4 << 30

// memoryBudget hands out memory for workspaces to images that are built at the same time. Its zero value is ready.
type memoryBudget struct {
	mu    sync.Mutex
	given int64 // bytes
}

// take returns how many bytes of memory an image's workspace may take, half of what is left, or 0 if it is to lie on
// disk. A tree that becomes the output itself is made where the output goes, so that it is only renamed in the end; and
// who names a directory means it.
func (m *memoryBudget) take(img *config.Image) int64 {
	if img.Format == config.FormatDirectory || img.WorkspaceDirectory != "" {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	left := min(availableMemory(), cgroupMemory("/")) - m.given
	if left < memoryWanted {
		return 0
	}
	m.given += left / 2
	return left / 2
}

// giveBack ends the use of what take returned.
func (m *memoryBudget) giveBack(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.given -= n
}

// availableMemory returns how many bytes programs can get without swapping, 0 if the kernel does not say; see
// MemAvailable in proc_meminfo(5).
func availableMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	return parseMeminfo(f)
}

// cgroupMemory returns how many bytes this process's control groups leave it, math.MaxInt64 without any limit. root is
// where the file systems are, "/" but for tests. See memory.max in the kernel's description of cgroup v2, and
// memory.limit_in_bytes of v1.
func cgroupMemory(root string) int64 {
	left := int64(math.MaxInt64)
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return left
	}
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		top, limit, usage := "sys/fs/cgroup", "memory.max", "memory.current"
		if part[1] != "" {
			if !slices.Contains(strings.Split(part[1], ","), "memory") {
				continue
			}
			top, limit, usage = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
		}
		for dir := path.Clean("/" + part[2]); ; dir = path.Dir(dir) {
			here := filepath.Join(root, top, dir)
			if max, ok := readNumber(filepath.Join(here, limit)); ok {
				used, _ := readNumber(filepath.Join(here, usage))
				left = min(left, max-used)
			}
			if dir == "/" {
				break
			}
		}
	}
	return left
}

// readNumber reads a file with one number; others, such as the word max, are none.
func readNumber(name string) (int64, bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

func parseMeminfo(r io.Reader) int64 {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		if rest, ok := strings.CutPrefix(sc.Text(), "MemAvailable:"); ok {
			var kib int64
			if _, err := fmt.Sscanf(rest, "%d kB", &kib); err == nil {
				return kib << 10
			}
		}
	}
	return 0
}
