package build

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
)

func TestCgroupMemory(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no cgroups": {nil, math.MaxInt64},
		"no limit": {map[string]string{
			"proc/self/cgroup":               "0::/a\n",
			"sys/fs/cgroup/a/memory.max":     "max\n",
			"sys/fs/cgroup/a/memory.current": "5\n",
		}, math.MaxInt64},
		"limit above": {map[string]string{
			"proc/self/cgroup":                 "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max":     "1000\n",
			"sys/fs/cgroup/a/b/memory.current": "10\n",
			"sys/fs/cgroup/a/memory.max":       "100\n",
			"sys/fs/cgroup/a/memory.current":   "30\n",
		}, 70},
		"version 1": {map[string]string{
			"proc/self/cgroup": "4:cpu:/x\n3:memory,hugetlb:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes":  "500\n",
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes":  "100\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes":  "1\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":    "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes":    "100\n",
			"sys/fs/cgroup/memory/a/other/memory.max_usage": "1\n",
		}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := newTree(t, tt.files)
			if got := cgroupMemory(dir); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestMemoryBudget(t *testing.T) {
	var m memoryBudget
	for _, img := range []config.Image{{Format: config.FormatDirectory}, {Format: config.FormatDisk, WorkspaceDirectory: "/x"}} {
		if n := m.take(&img); n != 0 {
			t.Errorf("%v got %d bytes of memory", img.Format, n)
		}
	}
	img := &config.Image{Format: config.FormatDisk}
	first := m.take(img)
	if second := m.take(img); first > 0 && second >= first {
		t.Errorf("the second image got %d bytes, the first %d", second, first)
	} else {
		m.giveBack(second)
	}
	m.giveBack(first)
	if m.given != 0 {
		t.Errorf("%d bytes are still given out", m.given)
	}
}

// Two builds do not get the same output directory at once, and nothing shows the lock.
func TestLockOutputs(t *testing.T) {
	cfg := tutorial(t.TempDir())
	b := &Builder{Config: cfg, UI: quietUI()}
	plan := &Plan{Jobs: []*Job{{Image: cfg.Images[0]}, {Image: cfg.Images[1]}}}
	unlock, err := b.lockOutputs(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		again, err := b.lockOutputs(t.Context(), plan)
		if err == nil {
			again()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("the second build did not wait: %v", err)
	default:
	}
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(cfg.Dir, "out")); err != nil || len(entries) != 0 {
		t.Errorf("the lock left %v, %v", entries, err)
	}
}

func TestGuardReportsPanics(t *testing.T) {
	err := (&Builder{}).guard(func() error { panic("oh") })
	if p, ok := err.(*PanicError); !ok || p.Value != "oh" || len(p.Stack) == 0 {
		t.Errorf("got %v", err)
	}
}
