package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
	"github.com/mkosi-go/mkosi/internal/version"
)

// FuzzCompareVersions expects an order: of two versions one is older, or
// they are the same, and what is older than an older one is older.
func FuzzCompareVersions(f *testing.F) {
	f.Add("1.2~rc1", "1.2", "1.2^a")
	f.Add("0001-x^", "1", "01")
	f.Add("", "~", "a")
	f.Add(strings.Repeat("1.", 1000), strings.Repeat("01.", 1000), strings.Repeat("~", 1000))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 100}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		var ab, ba, bc, ac int
		bound.Check(t, len(a+b+c), func() {
			ab, ba, bc, ac = sign(version.Compare(a, b)), sign(version.Compare(b, a)), sign(version.Compare(b, c)), sign(version.Compare(a, c))
		})
		if ab != -ba || version.Compare(a, a) != 0 {
			t.Errorf("%q and %q: %d one way and %d the other", a, b, ab, ba)
		}
		if ab <= 0 && bc <= 0 && ac > 0 || ab >= 0 && bc >= 0 && ac < 0 || ab == 0 && bc != ac {
			t.Errorf("%q, %q, %q: %d, %d and yet %d", a, b, c, ab, bc, ac)
		}
		if a == "" || strings.ContainsAny(b[:min(1, len(b))], "<>=!") || b != strings.TrimSpace(b) {
			return
		}
		for op, want := range map[string]bool{"<": ab < 0, "<=": ab <= 0, "==": ab == 0, "": ab == 0, "!=": ab != 0, ">=": ab >= 0, ">": ab > 0} {
			if versionMatches(a, op+b) != want {
				t.Errorf("whether %q is %s%q is not %v", a, op, b, want)
			}
		}
	})
}

func sign(n int) int { return max(-1, min(1, n)) }

// FuzzCondition expects that a condition holds, or that its opposite does,
// unless it is wrong.
func FuzzCondition(f *testing.F) {
	names := Conditions()
	for i := range names {
		for _, value := range []string{"debian", ">=1~rc1", "a*[b-]?", "%i%v%%", "A=b", "no", "x86-64", "|x", "=", "mkosi.conf"} {
			f.Add(i, value)
		}
	}
	dir := fuzztest.MemoryDir(f)
	const conf = "[Output]\nImageId=a\nImageVersion=1\n[Build]\nEnvironment=A=b\nBuildSources=.:x\n"
	if err := os.WriteFile(filepath.Join(dir, "mkosi.conf"), []byte(conf), 0o644); err != nil {
		f.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "mkosi.conf.d"), 0o755); err != nil {
		f.Fatal(err)
	}
	bound := fuzztest.Bound{Base: 16 << 20, PerByte: 2000}
	f.Fuzz(func(t *testing.T, i int, value string) {
		if i < 0 || i >= len(names) || strings.ContainsAny(value, "/\n#") || strings.TrimSpace(value) != value || strings.HasPrefix(value, "!") {
			return
		}
		var holds [2]string
		for j, not := range []string{"", "!"} {
			text := "[Match]\n" + names[i] + "=" + not + value + "\n[Content]\nHostname=yes\n"
			if strings.HasPrefix(value, "|") && not != "" {
				return
			}
			if err := os.WriteFile(filepath.Join(dir, "mkosi.conf.d/x.conf"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			bound.Check(t, len(text), func() {
				c, err := load(t, dir, "summary")
				if holds[j] = "error"; err == nil {
					holds[j] = c.Main().Hostname
				}
			})
		}
		slices.Sort(holds[:])
		if got := strings.Join(holds[:], " "); got != " yes" && got != "error error" {
			t.Errorf("%s=%s and its opposite: %s", names[i], value, got)
		}
	})
}
