package kernel

import (
	"context"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mkosi-go/mkosi/internal/archive"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// CPU is a processor of the x86 family as /proc/cpuinfo has it, by which
// microcode is chosen.
type CPU struct {
	// Vendor is "GenuineIntel", "AuthenticAMD" or another one.
	Vendor string
	// Family, Model and Stepping are its numbers, with what the extended fields
	// of CPUID add to them.
	Family, Model, Stepping int
}

// ParseCPUInfo returns the first processor in the text that the Linux kernel
// shows as /proc/cpuinfo; ok is false for other machines than x86.
func ParseCPUInfo(text string) (cpu CPU, ok bool) {
	found := 0
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if key == "" && found > 0 {
			break // the next processor
		}
		if key == "vendor_id" {
			cpu.Vendor = value
			found++
			continue
		}
		field := map[string]*int{"cpu family": &cpu.Family, "model": &cpu.Model, "stepping": &cpu.Stepping}[key]
		if field == nil {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return CPU{}, false
		}
		*field = n
		found++
	}
	return cpu, found >= 4
}

// amdFirstFamily is the first family of AMD whose microcode has a file of its
// own.
const amdFirstFamily = 0x15

// microcodeFile returns the name of the file with a processor's microcode,
// without extensions.
func (c CPU) microcodeFile() string {
	switch {
	case c.Vendor == "GenuineIntel":
		return fmt.Sprintf("%02x-%02x-%02x", c.Family, c.Model, c.Stepping)
	case c.Vendor == "AuthenticAMD" && c.Family >= amdFirstFamily:
		return fmt.Sprintf("microcode_amd_fam%02xh.bin", c.Family)
	case c.Vendor == "AuthenticAMD":
		return "microcode_amd.bin"
	}
	return ""
}

// vendor is a maker of processors that the Linux kernel loads microcode of.
type vendor struct {
	// dir is where firmware packages have it.
	dir string
	// name is how the files are called, without what compression adds. Other
	// files, such as signatures, would be taken for broken microcode.
	name *regexp.Regexp
	// target is where the Linux kernel looks for it in an initrd; see its
	// documentation of the x86 microcode loader.
	target string
}

// vendors are sorted by target, as archives are.
var vendors = []vendor{
	{"amd-ucode", regexp.MustCompile(`^microcode_amd[0-9a-z_]*\.bin$`), "kernel/x86/microcode/AuthenticAMD.bin"},
	// What is safe only before the processor does anything else is marked.
	{"intel-ucode", regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{2}-[0-9a-f]{2}(\.initramfs)?$`), "kernel/x86/microcode/GenuineIntel.bin"},
}

// maxMicrocode is how much microcode of one vendor is believed, in bytes; all of
// Intel's together has some 15 million.
const maxMicrocode = 256 << 20

// WriteMicrocode writes the initrd with the microcode in the tree at root, an
// uncompressed cpio archive that comes before all others, and reports whether
// there is any; else nothing is written. host limits it to what is for one
// processor. All times are epoch; where that is zero, that of the newest file.
func WriteMicrocode(ctx context.Context, w io.Writer, root string, host *CPU, epoch time.Time) (bool, error) {
	t, err := openTree(root)
	if err != nil {
		return false, err
	}
	defer t.Close()
	var files []archive.CPIOFile
	var newest time.Time
	for _, v := range vendors {
		content, mtime, err := t.microcode(ctx, v, host)
		if err != nil {
			return false, fmt.Errorf("collecting microcode: %w", err)
		}
		if mtime.After(newest) {
			newest = mtime
		}
		if len(content) > 0 {
			files = append(files, archive.CPIOFile{Name: v.target, Content: content})
		}
	}
	if len(files) == 0 {
		return false, nil
	}
	if epoch.IsZero() {
		epoch = newest
	}
	return true, archive.WriteCPIOFiles(w, files, epoch)
}

// microcode returns the files of a vendor, one after the other, and the time of
// the newest one.
func (t *rootDir) microcode(ctx context.Context, v vendor, host *CPU) (content []byte, newest time.Time, err error) {
	dir := path.Join(firmwareDir, v.dir)
	entries, err := t.readDir(dir)
	if err != nil {
		return nil, newest, err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, newest, err
		}
		stem := firmwareName(e.name)
		if !v.name.MatchString(stem) {
			continue
		}
		// Links to nowhere are passed over, as everywhere among firmware.
		if ok, err := t.isFile(path.Join(dir, e.name)); err != nil || !ok {
			if err != nil {
				return nil, newest, err
			}
			continue
		}
		if host != nil && strings.TrimSuffix(stem, ".initramfs") != host.microcodeFile() {
			continue
		}
		b, mtime, err := t.readMicrocode(path.Join(dir, e.name), maxMicrocode-len(content))
		if err != nil {
			return nil, newest, err
		}
		content = append(content, b...)
		if mtime.After(newest) {
			newest = mtime
		}
	}
	return content, newest, nil
}

// readMicrocode reads a file of at most limit bytes, which may be compressed.
func (t *rootDir) readMicrocode(name string, limit int) ([]byte, time.Time, error) {
	f, err := tree.OpenRegularIn(t.fd, name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	tooLarge := fmt.Errorf("%s makes it larger than %d bytes", name, maxMicrocode)
	if fi.Size() > int64(limit) {
		return nil, time.Time{}, tooLarge
	}
	r := io.Reader(f)
	if firmwareName(name) != name {
		z, _, err := archive.NewReader(f)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("reading %s: %w", name, err)
		}
		defer z.Close()
		r = z
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(b) > limit {
		return nil, time.Time{}, tooLarge
	}
	return b, fi.ModTime(), nil
}
