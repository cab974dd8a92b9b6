//go:build integration

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/disk/repart/reparttest"
)

// definitionsRun runs systemd-repart on sets of definitions. Each is in a
// directory of its own, whose path is returned. What the program writes is kept
// there as far as it is in outputs: image.raw, out, err, and its exit code in
// rc. The tree that it takes files from is in the directory root beside them.
func definitionsRun(t *testing.T, sets []fstest.MapFS, args, outputs string) []string {
	t.Helper()
	dir, err := os.MkdirTemp(sharedDir, "definitions-") // not below /tmp, which is another one in the reference
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	root := filepath.Join(dir, "root")
	writeFile(t, filepath.Join(root, "etc/os-release"), []byte("ID=debian\nIMAGE_ID=snow\nIMAGE_VERSION=7\n"), 0o644)
	writeFile(t, filepath.Join(root, "etc/machine-id"), []byte("0123456789abcdef0123456789abcdef\n"), 0o644)
	writeFile(t, filepath.Join(root, "a"), make([]byte, 4096), 0o644)
	var dirs, commands []string
	for i, set := range sets {
		own := filepath.Join(dir, strconv.Itoa(i))
		if err := os.CopyFS(filepath.Join(own, "repart.d"), set); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, own)
		// In memory, since the program waits for the disk.
		commands = append(commands, fmt.Sprintf("mkdir /tmp/%d; cd /tmp/%[1]d; systemd-repart --offline=yes --empty=create --size=auto --dry-run=no --no-pager --seed=%s --root=%s --definitions=%s/repart.d %s image.raw >out 2>err; echo $? >rc; cp %s %[4]s; rm -r /tmp/%[1]d",
			i, diskSeed, root, own, args, outputs))
	}
	inReference(t, dir, "true", commands)
	return dirs
}

// What is refused here is refused by systemd-repart too, or it is known and
// said why it is not.
func TestDefinitionsMalformed(t *testing.T) {
	all := reparttest.All()
	if len(all) < 100 {
		t.Fatalf("there are %d malformed definitions", len(all))
	}
	var sets []fstest.MapFS
	for _, m := range all {
		sets = append(sets, m.Files())
	}
	for i, dir := range definitionsRun(t, sets, "--json=off", "err rc") {
		failed := strings.TrimSpace(string(readFile(t, filepath.Join(dir, "rc")))) != "0"
		stderr := string(readFile(t, filepath.Join(dir, "err")))
		told := strings.Contains(stderr, ".conf:")
		switch m := all[i]; {
		case failed != (m.Reference == reparttest.Rejects):
			t.Errorf("%q: systemd-repart fails: %t, which was not expected\n%s", m.Text, failed, stderr)
		case !failed && told != (m.Reference == reparttest.Ignores):
			t.Errorf("%q: systemd-repart tells of the mistake: %t, which was not expected\n%s", m.Text, told, stderr)
		}
	}
}

// Attribute bits are those that the unit tests expect.
func TestDefinitionsAttributes(t *testing.T) {
	type row struct{ name, bits string }
	var sets []fstest.MapFS
	var rows [][]row
	add := func(set fstest.MapFS, r ...row) { sets, rows = append(sets, set), append(rows, r) }
	shared, sharedRows := fstest.MapFS{}, []row(nil)
	for line := range strings.Lines(string(readFile(t, filepath.Join(project, "internal/disk/repart/testdata/attributes.txt")))) {
		if line[0] == '#' {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		r := row{fields[0] + " " + fields[1], fields[2]}
		text := "[Partition]\nType=" + fields[0] + "\n" + strings.ReplaceAll(fields[1], "|", "\n") + "\n"
		if !strings.Contains(fields[1], "Verity=") {
			shared[fmt.Sprintf("%03d.conf", len(shared))] = &fstest.MapFile{Data: []byte(text + "SizeMinBytes=4K\nSizeMaxBytes=4K\n")}
			if sharedRows = append(sharedRows, r); len(sharedRows) == 100 {
				add(shared, sharedRows...)
				shared, sharedRows = fstest.MapFS{}, nil
			}
			continue
		}
		const key = "VerityMatchKey=a\n"
		set := fstest.MapFS{"10.conf": {Data: []byte(text + key)}}
		for _, role := range []string{"data", "hash"} {
			if !strings.Contains(fields[1], "Verity="+role) {
				set[role+".conf"] = &fstest.MapFile{Data: []byte("[Partition]\nType=linux-generic\nSizeMinBytes=4M\nVerity=" + role + "\n" + key)}
			}
		}
		add(set, r)
	}
	add(shared, sharedRows...)
	for i, dir := range definitionsRun(t, sets, "--json=off", "err image.raw") {
		image := readFile(t, filepath.Join(dir, "image.raw"))
		table, err := gpt.Read(bytes.NewReader(image), int64(len(image)), sector)
		if err != nil || len(table.Table.Partitions) < len(rows[i]) {
			t.Errorf("%v: %v\n%s", rows[i][0], err, readFile(t, filepath.Join(dir, "err")))
			continue
		}
		for n, r := range rows[i] {
			if got := reparttest.Bits(table.Table.Partitions[n].Flags); got != r.bits {
				t.Errorf("%s: systemd-repart sets bits %s, expected are %s", r.name, got, r.bits)
			}
		}
	}
}

// fstab and crypttab are those that the unit tests expect, but for the hashes
// of random keys.
func TestDefinitionsTables(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(project, "internal/disk/repart/testdata/fstab/*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("there is no test data: %v", err)
	}
	hash := regexp.MustCompile("fixate-volume-key=[0-9a-f]+")
	for _, path := range paths {
		sections := reparttest.Sections(string(readFile(t, path)))
		set := fstest.MapFS{}
		for name, text := range sections {
			if strings.HasSuffix(name, ".conf") {
				set[name] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		dir := definitionsRun(t, []fstest.MapFS{set}, "--json=off --generate-fstab=/etc/fstab --generate-crypttab=/etc/crypttab", "err")[0]
		for _, table := range []string{"fstab", "crypttab"} {
			text, err := os.ReadFile(filepath.Join(dir, "../root/etc", table))
			if err != nil && sections[table] != "" {
				t.Errorf("%s: %v\n%s", path, err, readFile(t, filepath.Join(dir, "err")))
			}
			got := hash.ReplaceAllString(string(text), "fixate-volume-key=0123456789abcdef")
			if diff := cmp.Diff(sections[table], got); diff != "" {
				t.Errorf("%s: %s (-expected +systemd-repart):\n%s", path, table, diff)
			}
		}
	}
}

// definitionsRead are definitions whose reading is compared.
func definitionsRead() []fstest.MapFS {
	var sets []fstest.MapFS
	for _, text := range []string{
		"Type=home\nLabel=a\\\nb", "Type=home\nLabel=a\\\n   b", "Type=home\nLabel=a \\\n# comment\n ; comment\n b", "Type=home\n# comment \\\nLabel=x",
		"Type=home\nLabel=a\\\n\nUUID=null", "Type=home\nLabel=a\\\\\nUUID=null", "Type=home\nLabel=a\\\\\\\nb", "Type=home\nLabel=a\\b\\\\c", "Type=home\nLabel\\\n=x",
		"Type=home\nLabel=x\\\n[Other]\nUUID=null", "  Type \t = \t home  \nLabel = a b ", "Type=home\nLabel=a=b", "Type=home\nLabel=\"a b\"", "Type=home\r\nLabel=a\r\n",
		"Type=home\nLabel=x # y", "Type=home\n[X-Foo]\nhello=x\n[Partition]\nX-a=b\nLabel=a", "Type=swap\nType=home\nLabel=a\nLabel=b",
		"Type=home\nLabel=%a-%o-%M-%A-%B", "Type=home\nLabel=%m", "Type=home\nLabel=%T%V%%", "Type=home\nLabel=x%", "Type=home\nLabel=", "Type=home\nLabel=a\nLabel=",
		"Type=home\nUUID=3d30965a098146f6a67a9c6bc38538e6", "Type=home\nUUID=urn:uuid:3D30965A-0981-46F6-A67A-9C6BC38538E6", "Type=home\nUUID=null\nUUID=",
		"Type=root-secondary", "Type=usr-secondary-verity", "Type=root-amd64", "Type=root-aarch64-verity", "Type=user-home", "Type=11111111-2222-3333-4444-555555555555",
		"Type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "Type=home\nFormat=empty", "Type=home\nFormat=empty\nLabel=x",
		"Type=home\nSizeMinBytes=1M5K", "Type=home\nSizeMinBytes=1.5M", "Type=home\nSizeMinBytes=20 M", "Type=home\nSizeMinBytes=+2M", "Type=home\nSizeMinBytes=1.123456789123456789M",
		"Type=home\nSizeMinBytes=11.999999K", "Type=home\nSizeMinBytes=1M1", "Type=home\nSizeMinBytes=5000B", "Type=home\nSizeMinBytes=2M 1K 7",
	} {
		sets = append(sets, fstest.MapFS{"10.conf": {Data: []byte("[Partition]\n" + text + "\n")}})
	}
	const home = "[Partition]\nType=home\n"
	return append(sets, fstest.MapFS{
		"b.conf": {Data: []byte(home + "Label=1\n")}, "B.conf": {Data: []byte(home + "Label=2\n")}, "a-b.conf": {Data: []byte(home + "Label=3\n")},
		"a.b.conf": {Data: []byte(home + "Label=4\n")}, "a.conf": {Data: []byte(home + "Label=5\n")}, "9.conf": {Data: []byte(home + "Label=6\n")},
		"10.conf": {Data: []byte(home)}, ".hidden.conf": {Data: []byte(home)}, "x.txt": {Data: []byte(home)},
		"10.conf.d/b.conf": {Data: []byte("[Partition]\nLabel=b\n")}, "10.conf.d/a.conf": {Data: []byte("[Partition]\nLabel=a\nUUID=null\n")},
		"10.conf.d/.z.conf": {Data: []byte("[Partition]\nLabel=z\n")}, "11.conf.d/a.conf": {Data: []byte(home)}, "12.conf": {}, "12.conf.d/a.conf": {Data: []byte(home)},
	})
}

// Definitions mean what they mean to systemd-repart: how lines are read, which
// files count, and what values stand for.
func TestDefinitionsRead(t *testing.T) {
	sets := definitionsRead()
	// The last partition takes the space that is left over.
	var withRest []fstest.MapFS
	for _, set := range sets {
		larger := fstest.MapFS{"~.conf": {Data: []byte("[Partition]\nType=srv\n")}}
		for name, f := range set {
			larger[name] = f
		}
		withRest = append(withRest, larger)
	}
	fields := map[string]string{"ID": "debian", "IMAGE_ID": "snow", "IMAGE_VERSION": "7"}
	options := repart.Options{
		Architecture: "x86-64", MachineID: "0123456789abcdef0123456789abcdef",
		OSRelease: func(field string) string { return fields[field] },
	}
	type partition struct {
		File, Type, Label string
		Null              bool
		Size              uint64
	}
	for i, dir := range definitionsRun(t, withRest, "--json=short", "out err") {
		var reported []struct {
			File, Type, Label, UUID string
			RawSize                 uint64 `json:"raw_size"`
		}
		if err := json.Unmarshal(readFile(t, filepath.Join(dir, "out")), &reported); err != nil {
			t.Errorf("%v: %v\n%s", sets[i], err, readFile(t, filepath.Join(dir, "err")))
			continue
		}
		defs, _, err := repart.Parse(withRest[i], options)
		if err != nil {
			t.Error(err)
			continue
		}
		var want, got []partition
		for _, p := range reported {
			want = append(want, partition{filepath.Base(p.File), p.Type, noDash(p.Label), p.UUID == "00000000-0000-0000-0000-000000000000", p.RawSize})
		}
		for n, d := range defs {
			p := partition{d.File, d.Type.Name, d.Label, d.UUID != nil && d.UUID.ID() == 0, 0}
			switch {
			case p.Label != "" || d.NoLabel:
			case d.Format == repart.FormatEmpty:
				p.Label = repart.EmptyLabel
			default:
				p.Label = d.Type.DefaultLabel()
			}
			if p.Size = want[min(n, len(want)-1)].Size; d.SizeMin != nil && !strings.Contains(string(withRest[i][d.File].Data), "SizeMax") {
				p.Size = max(*d.SizeMin, p.Size)
			}
			got = append(got, p)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-systemd-repart +ours):\n%s", withRest[i]["10.conf"].Data, diff)
		}
	}
}

// noDash returns the label that the program prints, which writes a dash for
// none.
func noDash(label string) string {
	if label == "-" {
		return ""
	}
	return label
}

// corpusDefinitions is how many definitions there are, so that none gets lost.
const corpusDefinitions = 63

// The definitions of real projects are read, but for those that are only for
// running systems.
func TestDefinitionsCorpus(t *testing.T) {
	dir := os.Getenv("MKOSI_CORPUS")
	if dir == "" {
		dir = filepath.Join(project, "../shared/reference/corpus")
	}
	options := repart.Options{Architecture: "x86-64", OSRelease: func(string) string { return "7" }}
	total := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() || e.Name() != "mkosi.repart" && !strings.HasSuffix(e.Name(), "repart.d") {
			return err
		}
		files, err := filepath.Glob(filepath.Join(path, "*.conf"))
		if err != nil {
			return err
		}
		for _, file := range files {
			text := readFile(t, file)
			if len(text) == 0 {
				continue
			}
			total++
			_, warnings, err := repart.Parse(fstest.MapFS{filepath.Base(file): {Data: text}}, options)
			sealed := strings.Contains(string(text), "\nEncrypt=tpm2\n")
			if sealed != (err != nil) || sealed && !strings.Contains(err.Error(), "TPM") || len(warnings) > 0 {
				t.Errorf("%s: %v %v", file, err, warnings)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total != corpusDefinitions {
		t.Errorf("the corpus has %d definitions, not %d", total, corpusDefinitions)
	}
}
