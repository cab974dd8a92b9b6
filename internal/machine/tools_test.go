package machine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// With a tools tree, whose /usr has none of them, QEMU sees the files that it is told to use. The integration tests run
// it so.
func TestToolsTreeHidesNoFiles(t *testing.T) {
	root := t.TempDir()
	link, own := filepath.Join(root, "link"), filepath.Join(root, "own")
	if err := os.Symlink("/usr/bin/env", link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, op := range (tools{root: root}).overHost([]string{"/usr/bin/env", "/etc/passwd", link, own, "/nowhere"}) {
		ops = append(ops, op.String())
	}
	overlay := slices.Index(ops, "overlay of "+root+"/usr at /usr with changes in memory")
	for file, bound := range map[string]bool{"/usr/bin/env": true, "/etc/passwd": true, link: true, own: false, "/nowhere": false} {
		if at := slices.Index(ops, "bind "+file+" to "+file); (at > overlay) != bound {
			t.Errorf("%s: got %q", file, ops)
		}
	}
	for _, op := range (tools{root: root}).overHost([]string{own}) {
		if op.String() == ops[overlay] {
			t.Error("there is an overlay that nothing needs")
		}
	}
}
