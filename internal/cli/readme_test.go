package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestReadme holds what the README shows of explain and check against what they print.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var commands, want strings.Builder
	n := 0
	for block := range strings.SplitSeq(string(readme), "```console\n$ bin/mkosi ") {
		args, rest, ok := strings.Cut(block, "\n")
		verbs := strings.Fields(args)
		if !ok || !strings.Contains(args, "-C examples/explain") && !strings.Contains(args, "-C examples/check") {
			continue
		}
		output, _, _ := strings.Cut(rest, "```")
		n++
		stream, result := "stdout", "exec"
		if verbs[len(verbs)-1] == "check" {
			stream, result = "stderr", "! exec"
		}
		fmt.Fprintf(&commands, "%s mkosi %s\ncmp %s $WORK/want%d\n", result, args, stream, n)
		fmt.Fprintf(&want, "-- want%d --\n%s", n, output)
	}
	if n < 3 {
		t.Fatalf("found only %d examples in the README", n)
	}
	script := "cd " + root + "\n" + commands.String() + want.String()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readme.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir})
}
