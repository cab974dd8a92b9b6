package build

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
)

// errNoSpace also is what programs print when a file system is full.
var errNoSpace error = unix.ENOSPC

// memoryWanted is how much memory has to be available before a workspace is put there. Creating files in memory is
// several times faster than on a file system that has just lost as many, which is the state of a disk on which
// somebody rebuilds all day.
const memoryWanted = 4 << 30

// useMemory decides whether an image's workspace lies in memory. A tree that becomes the output itself is made where
// the output goes, so that it is only renamed in the end; and who names a directory means it.
func (b *Builder) useMemory(img *config.Image) bool {
	return img.Format != config.FormatDirectory && img.WorkspaceDirectory == "" && availableMemory() >= memoryWanted
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
