package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// matchPartitions pairs the partitions of two disks: those of one type with
// the same UUID, then with the same label, then in order. What is left over
// has nil for the other.
func matchPartitions(a, b []Partition) [][2]*Partition {
	partner := map[*Partition]*Partition{}
	taken := map[*Partition]bool{}
	for _, same := range []func(p, q *Partition) bool{
		func(p, q *Partition) bool { return p.UUID == q.UUID },
		func(p, q *Partition) bool { return p.Label == q.Label },
		func(p, q *Partition) bool { return true },
	} {
		for i := range a {
			for j := range b {
				p, q := &a[i], &b[j]
				if partner[p] == nil && !taken[q] && p.TypeUUID == q.TypeUUID && same(p, q) {
					partner[p], taken[q] = q, true
				}
			}
		}
	}
	var pairs [][2]*Partition
	for i := range a {
		pairs = append(pairs, [2]*Partition{&a[i], partner[&a[i]]})
	}
	for j := range b {
		if !taken[&b[j]] {
			pairs = append(pairs, [2]*Partition{nil, &b[j]})
		}
	}
	return pairs
}

// partitions compares two partitions, one of which may be missing. It returns
// nil if they are the same.
func (d *differ) partitions(a, b side, p, q *Partition) (*PartitionDiff, error) {
	switch {
	case q == nil:
		return &PartitionDiff{Change: Removed, A: p.Number, Type: p.Type, Label: p.Label}, nil
	case p == nil:
		return &PartitionDiff{Change: Added, B: q.Number, Type: q.Type, Label: q.Label}, nil
	}
	one := &PartitionDiff{Change: Changed, A: p.Number, B: q.Number, Type: q.Type, Label: q.Label}
	f := (*fields)(&one.Fields)
	f.add("label", p.Label, q.Label)
	if !d.ignore.UUID {
		f.add("UUID", p.UUID.String(), q.UUID.String())
	}
	f.add("flags", fmt.Sprintf("%#x", p.Flags), fmt.Sprintf("%#x", q.Flags))
	if !d.ignore.Layout {
		f.add("number", fmt.Sprint(p.Number), fmt.Sprint(q.Number))
		f.add("offset", fmt.Sprint(p.Offset), fmt.Sprint(q.Offset))
		f.add("size", fmt.Sprint(p.Size), fmt.Sprint(q.Size))
	}
	more, tree, err := d.contents(piece{a.partition(p), p.Size, &p.Content}, piece{b.partition(q), q.Size, &q.Content})
	if err != nil {
		return nil, fmt.Errorf("comparing partitions %d and %d: %w", p.Number, q.Number, err)
	}
	one.Fields = append(one.Fields, more...)
	one.Tree = tree
	if len(one.Fields) == 0 && tree == nil {
		return nil, nil
	}
	return one, nil
}

// piece is a piece of an image and what it holds.
type piece struct {
	r       io.ReaderAt
	size    int64
	content *Content
}

// contents compares two pieces.
func (d *differ) contents(a, b piece) ([]Field, *TreeDiff, error) {
	same, err := sameBytes(d.ctx, a.r, b.r, a.size, b.size)
	if same || err != nil {
		return nil, nil, err
	}
	var f fields
	d.describe(&f, a.content, b.content)
	if a.content.Format.isFileSystem() && b.content.Format.isFileSystem() {
		x, errA := readTree(d.ctx, a.r, a.size, a.content.Format)
		y, errB := readTree(d.ctx, b.r, b.size, b.content.Format)
		if errA == nil && errB == nil {
			tree, err := d.trees(x, y)
			if err == nil && tree == nil && len(f) == 0 && !d.ignore.Layout {
				f.add("layout", "the same files", "lie elsewhere")
			}
			return f, tree, err
		}
		for i, err := range []error{errA, errB} {
			if err != nil && d.ctx.Err() != nil {
				return nil, nil, err
			} else if err != nil {
				f = append(f, Field{"files", problemAt(i == 0, err), problemAt(i == 1, err)})
			}
		}
	}
	if len(f) > 0 || d.ignore.UUID && isBookkeeping(a.content.Format) && a.content.Format == b.content.Format {
		return f, nil, nil
	}
	at, err := firstDifference(d.ctx, io.NewSectionReader(a.r, 0, a.size), io.NewSectionReader(b.r, 0, b.size))
	if at >= 0 && !(d.ignore.Layout && at == min(a.size, b.size)) {
		f = append(f, Field{"content", "", fmt.Sprintf("differs from byte %d on", at)})
	}
	return f, nil, err
}

func problemAt(here bool, err error) string {
	if here {
		return "cannot be read: " + err.Error()
	}
	return ""
}

// isBookkeeping says that a format has nothing in it but identifiers and what
// follows from other partitions.
func isBookkeeping(f Format) bool {
	return f == FormatSwap || f == FormatVerity || f == FormatSignature
}

// describe compares what two pieces say of themselves.
func (d *differ) describe(f *fields, a, b *Content) {
	f.add("format", string(a.Format), string(b.Format))
	if x, y := a.FileSystem, b.FileSystem; x != nil && y != nil {
		f.add("kind", x.Kind, y.Kind)
		f.add("file system label", x.Label, y.Label)
		if !d.ignore.UUID {
			f.add("file system UUID", x.UUID, y.UUID)
		}
		f.add("compression", strings.Join(x.Compression, " "), strings.Join(y.Compression, " "))
		if !d.ignore.Layout {
			f.add("file system size", fmt.Sprint(x.Size), fmt.Sprint(y.Size))
			f.add("block size", fmt.Sprint(x.BlockSize), fmt.Sprint(y.BlockSize))
		}
		f.add("features", strings.Join(without(x.Features, y.Features), " "), strings.Join(without(y.Features, x.Features), " "))
	}
	if x, y := a.Verity, b.Verity; x != nil && y != nil && !d.ignore.UUID {
		f.add("root hash", x.RootHash.String(), y.RootHash.String())
		f.add("salt", x.Salt.String(), y.Salt.String())
		f.add("data blocks", fmt.Sprint(x.DataBlocks), fmt.Sprint(y.DataBlocks))
	}
	if x, y := a.Signature, b.Signature; x != nil && y != nil && !d.ignore.UUID {
		f.add("signed root hash", x.RootHash.String(), y.RootHash.String())
		f.add("certificate", x.Fingerprint.String(), y.Fingerprint.String())
	}
	if x, y := a.Program, b.Program; x != nil && y != nil {
		programs(f, x, y)
	}
}

// without returns the words of a list that another does not have.
func without(list, other []string) []string {
	var out []string
	for _, w := range list {
		if !slices.Contains(other, w) {
			out = append(out, w)
		}
	}
	return out
}

// programs compares two programs section by section.
func programs(f *fields, a, b *Program) {
	f.add("architecture", a.Architecture, b.Architecture)
	f.add("command line", a.CommandLine, b.CommandLine)
	f.add("kernel version", a.Uname, b.Uname)
	text := func(p *Program, name string, n int) string {
		for _, s := range p.Sections {
			if s.Name != name {
				continue
			}
			if n--; n < 0 {
				return fmt.Sprintf("%d bytes, SHA-256 %s", s.Size, s.SHA256)
			}
		}
		return ""
	}
	seen := map[string]int{}
	for _, list := range [][]Section{a.Sections, b.Sections} {
		count := map[string]int{}
		for _, s := range list {
			n := count[s.Name]
			if count[s.Name]++; n >= seen[s.Name] {
				seen[s.Name]++
				f.add("section "+s.Name, text(a, s.Name, n), text(b, s.Name, n))
			}
		}
	}
}
