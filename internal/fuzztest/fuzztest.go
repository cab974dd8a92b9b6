// Package fuzztest bounds what reading an input may cost. A fuzz target that only waits for panics misses the inputs on
// which a program hangs or fills the memory.
package fuzztest

import (
	"os"
	"runtime/metrics"
	"testing"
	"time"
)

// Bound is what reading may cost. It is generous: it is there to tell what grows with the square of the input, or is
// blown up out of proportion, from what does not.
type Bound struct {
	Base    int // bytes that may be allocated for the smallest input
	PerByte int // bytes that may be allocated for each byte of the input
}

// slow is how long anything may take, on a machine that is busy with something else as well.
const slow = 5 * time.Second

// Check runs f on an input of so many bytes and reports when it takes too long or allocates too much. All that is
// allocated counts, including what the collector frees meanwhile.
func (b Bound) Check(t testing.TB, size int, f func()) {
	t.Helper()
	before, start := allocated(), time.Now()
	f()
	took, bytes := time.Since(start), allocated()-before
	if took > slow {
		t.Errorf("%d bytes of input took %v", size, took)
	}
	if most := b.Base + b.PerByte*size; bytes > most {
		t.Errorf("%d bytes of input made it allocate %d, more than %d", size, bytes, most)
	}
}

// allocated is how many bytes this process has allocated so far.
func allocated() int {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}

// MemoryDir makes a directory that is removed after the test, in memory where the machine has such a place: a fuzz
// target that writes files is several times faster there.
func MemoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mkosi-fuzz-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
