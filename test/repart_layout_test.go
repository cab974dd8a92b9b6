//go:build integration

package test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/layout"
)

// More of the random cases can be tried by hand, such as with
// -layout-first=1000 -layout-cases=5000.
var (
	layoutFirst = flag.Int("layout-first", 0, "number of the first random case of TestRepartLayoutRandom")
	layoutCases = flag.Int("layout-cases", 150, "how many random cases TestRepartLayoutRandom tries")
)

// write writes the case into a folder and returns the command that has
// systemd-repart work on it.
func (c *layoutCase) write(t *testing.T, dir string) string {
	t.Helper()
	definitions, image := filepath.Join(dir, "repart.d"), filepath.Join(dir, "image")
	if err := os.MkdirAll(definitions, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, text := range c.definitions {
		writeFile(t, filepath.Join(definitions, c.parts[i].Name+".conf"), []byte(text), 0o644)
	}
	args := []string{
		"systemd-repart", "--offline=yes", "--dry-run=no", "--json=off", "--no-pager", "--seed=" + diskSeed.String(),
		"--definitions=" + definitions, fmt.Sprint("--sector-size=", c.sector),
	}
	if c.grain != 0 {
		args = append(args, fmt.Sprint("--grain-size=", c.grain))
	}
	switch {
	case c.option > 0:
		args = append(args, fmt.Sprint("--size=", c.option))
	case c.option < 0:
		args = append(args, "--size=auto")
	}
	if c.table == nil {
		args = append(args, "--empty=create")
	} else {
		args = append(args, "--empty=allow")
		f, err := os.Create(image)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(c.size), c.table.WriteTo(f), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%s %s >%s/log 2>&1; echo $? >%s/code", strings.Join(args, " "), image, dir, dir)
}

// place lays the case out and returns the table.
func (c *layoutCase) place() (*gpt.Table, error) {
	d := &layout.Disk{Size: c.size, Auto: c.option < 0, SectorSize: c.sector, Grain: c.grain, Existing: c.table}
	if c.option > 0 {
		d.Size = max(d.Size, (c.option+4095)/4096*4096)
	}
	if err := d.Place(c.parts); err != nil {
		return nil, err
	}
	return d.Table(c.parts), nil
}

// layoutTable shows of a table what the layout decides on. Partitions that were
// there before have identifiers that are small numbers.
func layoutTable(t *gpt.Table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sectors of %d bytes, usable %d to %d\n", t.Sectors, t.SectorSize, t.FirstUsable, t.LastUsable)
	for _, p := range t.Partitions {
		old := byte(0)
		if bytes.Count(p.UUID[:15], []byte{0}) == 15 {
			old = p.UUID[15]
		}
		fmt.Fprintf(&b, "%d: %s, old %d, %d to %d\n", p.Number, p.Type, old, p.First, p.Last)
	}
	return b.String()
}

// readLayout reads the table of an image.
func readLayout(t *testing.T, image string, sector int) *gpt.Table {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	found, err := gpt.Read(f, fi.Size(), sector)
	if err != nil {
		t.Fatal(err)
	}
	if found.Primary != nil {
		t.Fatal(found.Primary)
	}
	return found.Table
}

// Random partitions on random disks go where systemd-repart puts them, and
// there is no room where it finds none.
func TestRepartLayoutRandom(t *testing.T) {
	// The reference cannot see what lies in /tmp, where t.TempDir is.
	dir, err := os.MkdirTemp(sharedDir, "layout-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	var cases []*layoutCase
	var commands []string
	for i := range *layoutCases {
		c := randomLayout(*layoutFirst + i)
		cases = append(cases, c)
		commands = append(commands, c.write(t, filepath.Join(dir, fmt.Sprint(i))))
	}
	inReference(t, dir, "true", commands)
	compared := 0
	for i, c := range cases {
		if c.compare(t, *layoutFirst+i, filepath.Join(dir, fmt.Sprint(i))) {
			compared++
		}
	}
	t.Logf("%d of %d tables compared", compared, len(cases))
	if compared < len(cases)*8/10 {
		t.Errorf("only %d of %d tables could be compared", compared, len(cases))
	}
}

// compare compares what systemd-repart did in a folder with what we do, and
// reports whether it could. systemd-repart is stopped by an assertion of its own
// when it drops a partition that exists and has no label.
func (c *layoutCase) compare(t *testing.T, number int, dir string) bool {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(filepath.Join(dir, "code"))
	if err != nil {
		t.Fatal(err)
	}
	table, err := c.place()
	diff := ""
	switch {
	case bytes.Contains(log, []byte("Assertion")):
		return false
	case string(code) != "0\n":
		if !errors.Is(err, layout.ErrNoRoom) {
			diff = fmt.Sprint("systemd-repart fails, ours: ", err)
		}
	case err != nil:
		diff = "only ours fails: " + err.Error()
	default:
		want := readLayout(t, filepath.Join(dir, "image"), c.sector)
		if bytes.Contains(log, []byte("No changes.")) {
			// Then it leaves the table alone even if the disk has grown.
			want.LastUsable = table.LastUsable
		}
		diff = cmp.Diff(layoutTable(want), layoutTable(table))
	}
	if diff != "" {
		before := "none"
		if c.table != nil {
			before = layoutTable(c.table)
		}
		t.Errorf("case %d, %d bytes, --size=%d, sectors of %d, grain %d: systemd-repart (-) and ours (+):\n%s\nbefore: %s\n%s\n%s",
			number, c.size, c.option, c.sector, c.grain, diff, before, log, strings.Join(c.definitions, ""))
	}
	return true
}
