package host

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// BytesWritten returns how many bytes this process, and all of its children that it has waited for, caused to be written
// to disks, by proc_pid_io(5). What went to a file system in memory is not counted. ok is false if the kernel does not
// say.
func BytesWritten() (bytes int64, ok bool) {
	f, err := os.Open("/proc/self/io")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), "write_bytes: "); found {
			bytes, err = strconv.ParseInt(value, 10, 64)
			return bytes, err == nil
		}
	}
	return 0, false
}
