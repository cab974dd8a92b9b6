package deb

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Packages that bring the same directories at the same time: the first in order decides, whoever makes them.
func TestDirectoriesMadeAtOnce(t *testing.T) {
	const rounds, packages = 300, 8
	root := t.TempDir()
	tr, err := openTree(root, true)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	for round := range rounds {
		var wg sync.WaitGroup
		start := make(chan struct{})
		for order := range packages {
			wg.Go(func() {
				<-start
				a := &attributes{order: order, mode: 0o755, sec: int64(1000 + order)}
				if err := tr.mkdir(fmt.Sprint("dir", round), a); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
	}
	if err := tr.finish(); err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		info, err := os.Stat(filepath.Join(root, fmt.Sprint("dir", round)))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.ModTime().Unix(); got != 1000 {
			t.Errorf("directory %d has the time of package %d", round, got-1000)
		}
	}
}
