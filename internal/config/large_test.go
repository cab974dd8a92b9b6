package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// TestLargeFiles reads files of half a megabyte. What they cost must be in
// proportion to their size, whatever they are full of.
func TestLargeFiles(t *testing.T) {
	numbered := func(format string) func(i int) string {
		return func(i int) string { return fmt.Sprintf(format, i) }
	}
	for name, tc := range map[string]struct {
		start string
		line  func(i int) string
	}{
		"list":                        {"[Content]\n", numbered("KernelCommandLine=a%d\n")},
		"sorted list":                 {"[Content]\n", numbered("Packages=a%d\n")},
		"descending list":             {"[Content]\n", func(i int) string { return fmt.Sprintf("Packages=a%d\n", 1<<20-i) }},
		"list of paths":               {"[Build]\n", numbered("SandboxTrees=mkosi.conf:/%d\n")},
		"dictionary":                  {"[Build]\n", numbered("Environment=A%d=b\n")},
		"single value":                {"[Output]\n", numbered("ImageId=a%d\n")},
		"list that resets":            {"[Content]\n", numbered("KernelCommandLine=a%d\nKernelCommandLine=\n")},
		"artifacts":                   {"[Output]\n", numbered("SplitArtifacts=tar\n#%d\n")},
		"includes":                    {"[Include]\n", numbered("Include=mkosi.conf\n#%d\n")},
		"many words":                  {"[Content]\nPackages=\n", numbered(" a%d\n")},
		"unknown settings":            {"[Content]\n", numbered("Pakcage%d=a\n")},
		"unknown sections":            {"", numbered("[Contents%d]\n")},
		"wrong values":                {"[Content]\n", numbered("Bootable=x%d\n")},
		"wrong section":               {"[Build]\n", numbered("Packages=a%d\n")},
		"unknown specifiers":          {"[Content]\n", numbered("Hostname=%%x%d\n")},
		"syntax errors":               {"", numbered("?%d\n")},
		"conditions":                  {"[Match]\n", numbered("ImageId=!%d\n")},
		"conditions that do not hold": {"[Match]\n", numbered("ImageId=%d\n")},
		"triggers":                    {"[Match]\n", numbered("Environment=|A%d\n")},
		"trigger sections":            {"", numbered("[TriggerMatch]\nImageId=%d\n")},
		"wrong conditions":            {"[Match]\n", numbered("Formats=%d\n")},
		"value repeated": {"[Output]\nImageVersion=aaaaaaaa\n" + strings.Repeat("ImageVersion=%v%v\n", 10) + "[Content]\n",
			numbered("KernelCommandLine=%%v%d\n")},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var b strings.Builder
			b.WriteString(tc.start)
			for i := 0; b.Len() < 1<<19; i++ {
				b.WriteString(tc.line(i))
			}
			if err := os.WriteFile(filepath.Join(dir, "mkosi.conf"), []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			fuzztest.Bound{Base: 64 << 20, PerByte: 500}.Check(t, b.Len(), func() {
				c, err := load(t, dir)
				if err == nil {
					if _, err := JSON(c); err != nil {
						t.Error(err)
					}
					Summarize(c, false)
				}
				Check(c, err)
			})
		})
	}
}
