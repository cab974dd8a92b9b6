package kernel

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/archive"
)

func TestParseCPUInfo(t *testing.T) {
	for text, want := range map[string]CPU{
		"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: X\nstepping\t: 7\nflags\t\t: fpu\n\nprocessor\t: 1\nmodel\t\t: 1\n": {"GenuineIntel", 6, 85, 7},
		"vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nstepping\t: 1\n":                                                                                  {"AuthenticAMD", 26, 2, 1},
	} {
		if got, ok := ParseCPUInfo(text); !ok || got != want {
			t.Errorf("%q: got %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "processor\t: 0\nBogoMIPS\t: 50\nCPU implementer\t: 0x41\n", "vendor_id: x\ncpu family: -1\nmodel: 1\nstepping: 1\n"} {
		if got, ok := ParseCPUInfo(text); ok {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func plantMicrocode(t *testing.T) string {
	t.Helper()
	const f = "usr/lib/firmware/"
	return plant(t,
		f+"amd-ucode/microcode_amd.bin | amd.", f+"amd-ucode/microcode_amd_fam15h.bin | fam15.", f+"amd-ucode/microcode_amd_fam15h.bin.asc",
		f+"amd-ucode/microcode_amd_fam1ah.bin.xz | "+compressed(t, archive.XZ, "fam1a."), f+"amd-ucode/README",
		f+"intel-ucode/06-55-07 | 55.", f+"intel-ucode/06-55-04.zst | "+compressed(t, archive.Zstd, "04."),
		f+"intel-ucode/06-4f-01.initramfs -> ../real", f+"real | 4f.", f+"intel-ucode/06-00-00 -> gone", f+"intel-ucode/list", f+"intel-ucode/06-11-11/",
	)
}

func TestWriteMicrocode(t *testing.T) {
	const amd, intel = "kernel/x86/microcode/AuthenticAMD.bin", "kernel/x86/microcode/GenuineIntel.bin"
	root := plantMicrocode(t)
	for name, test := range map[string]struct {
		host *CPU
		want map[string]string
	}{
		"all":     {nil, map[string]string{amd: "amd.fam15.fam1a.", intel: "4f.04.55."}},
		"Intel":   {&CPU{"GenuineIntel", 6, 0x55, 7}, map[string]string{intel: "55."}},
		"early":   {&CPU{"GenuineIntel", 6, 0x4f, 1}, map[string]string{intel: "4f."}},
		"AMD":     {&CPU{"AuthenticAMD", 0x1a, 2, 1}, map[string]string{amd: "fam1a."}},
		"old AMD": {&CPU{"AuthenticAMD", 0x10, 2, 1}, map[string]string{amd: "amd."}},
		"other":   {&CPU{"CentaurHauls", 6, 0x55, 7}, nil},
		"no file": {&CPU{"GenuineIntel", 6, 0, 0}, nil},
	} {
		var b bytes.Buffer
		written, err := WriteMicrocode(t.Context(), &b, root, test.host, time.Time{})
		must(t, err)
		if written != (test.want != nil) || written != (b.Len() > 0) {
			t.Errorf("%s: written is %v, with %d bytes", name, written, b.Len())
		}
		if !written {
			continue
		}
		got := map[string]string{}
		r := archive.NewCPIOReader(&b)
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			must(t, err)
			content, err := io.ReadAll(r)
			must(t, err)
			if h.Mode>>12 == 8 {
				got[h.Name] = string(content)
			}
			if !h.ModTime.Equal(plantTime) {
				t.Errorf("%s: %s is of %v", name, h.Name, h.ModTime)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if written, err := WriteMicrocode(t.Context(), io.Discard, t.TempDir(), nil, time.Time{}); written || err != nil {
		t.Errorf("an empty tree: %v, %v", written, err)
	}
}

func TestWriteMicrocodeRefuses(t *testing.T) {
	root := plant(t, "usr/lib/firmware/intel-ucode/06-55-07.xz | no xz")
	must(t, os.Truncate(filepath.Join(root, "usr/lib/firmware/intel-ucode/06-55-07.xz"), maxMicrocode+1))
	_, err := WriteMicrocode(t.Context(), io.Discard, root, nil, time.Time{})
	if err == nil || !strings.Contains(err.Error(), "06-55-07.xz makes it larger than") {
		t.Errorf("got %v", err)
	}
}

// FuzzParseCPUInfo wants numbers that a file name can be made of.
func FuzzParseCPUInfo(f *testing.F) {
	f.Add("vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\nstepping\t: 1\n")
	f.Add("vendor_id:GenuineIntel\ncpu family:99999999999999999999\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		cpu, ok := ParseCPUInfo(text)
		if ok && (cpu.Family < 0 || cpu.Model < 0 || cpu.Stepping < 0 || strings.Contains(cpu.microcodeFile(), "/")) {
			t.Errorf("%q is %v", text, cpu)
		}
	})
}
