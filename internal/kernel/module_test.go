package kernel

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// elfModule makes a module of which nothing but its .modinfo section is real:
// the file header, the content of the sections, their headers.
func elfModule(order binary.AppendByteOrder, wide bool, fields ...string) []byte {
	info := strings.Join(fields, "\x00") + "\x00"
	const names = "\x00.modinfo\x00.shstrtab\x00"
	header, entry := uint64(52), uint64(40)
	word := func(b []byte, n uint64) []byte { return order.AppendUint32(b, uint32(n)) }
	class := byte(1)
	if wide {
		header, entry, class = 64, 64, elfClass64
		word = order.AppendUint64
	}
	data := byte(1)
	if order.String() == binary.BigEndian.String() {
		data = elfBig
	}
	table := header + uint64(len(info)+len(names))

	b := append([]byte(elfMagic), class, data, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, 62)
	b = order.AppendUint32(b, 1)
	b = word(word(word(b, 0), 0), table)
	b = order.AppendUint32(b, 0)
	for _, n := range []uint64{header, 0, 0, entry, 3, 2} {
		b = order.AppendUint16(b, uint16(n))
	}
	b = append(b, info+names...)
	section := func(name, kind uint32, offset, size int) {
		b = order.AppendUint32(b, name)
		b = order.AppendUint32(b, kind)
		b = word(word(word(word(b, 0), 0), uint64(offset)), uint64(size))
		b = order.AppendUint32(b, 0)
		b = order.AppendUint32(b, 0)
		b = word(word(b, 0), 0)
	}
	section(0, 0, 0, 0)
	section(1, 1, int(header), len(info))
	section(uint32(strings.Index(names, ".shstrtab")), 3, int(header)+len(info), len(names))
	return b
}

// ko is a module for x86-64.
func ko(fields ...string) string {
	return string(elfModule(binary.LittleEndian, true, append(fields, "name=x", "license=GPL")...))
}

func TestParseModule(t *testing.T) {
	fields := []string{
		"license=GPL", "depends=a,b_c", "softdep=pre: d e post: f", "softdep=pre: g", "weakdep=h i",
		"firmware=x/y.bin", "firmware=z*.bin", "firmware=", "depends", "parm=depends=k", "",
	}
	want := modinfo{
		depends:  []string{"a", "b_c"},
		wants:    []string{"d", "e", "f", "g", "h", "i"},
		firmware: []string{"x/y.bin", "z*.bin"},
	}
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, wide := range []bool{false, true} {
			// A signature may follow.
			b := append(elfModule(order, wide, fields...), "~Module signature appended~\n"...)
			got, err := parseModule(b)
			must(t, err)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(modinfo{})); diff != "" {
				t.Errorf("%v, wide %v: %s", order, wide, diff)
			}
		}
	}
}

func TestParseModuleNumbersInTheFirstSection(t *testing.T) {
	b := elfModule(binary.LittleEndian, true, "depends=a")
	table := binary.LittleEndian.Uint64(b[40:])
	binary.LittleEndian.PutUint16(b[60:], 0)
	binary.LittleEndian.PutUint64(b[table+32:], 3)
	binary.LittleEndian.PutUint16(b[62:], 0xffff)
	binary.LittleEndian.PutUint32(b[table+40:], 2)
	got, err := parseModule(b)
	must(t, err)
	if diff := cmp.Diff([]string{"a"}, got.depends); diff != "" {
		t.Error(diff)
	}
}

func TestParseModuleRefuses(t *testing.T) {
	good := elfModule(binary.LittleEndian, true, "depends=a")
	table := binary.LittleEndian.Uint64(good[40:])
	change := func(at uint64, b ...byte) []byte {
		bad := append([]byte(nil), good...)
		copy(bad[at:], b)
		return bad
	}
	for name, test := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":           {nil, "not a kernel module"},
		"text":            {[]byte(strings.Repeat("text", 100)), "not a kernel module"},
		"header only":     {good[:64], "not a kernel module"},
		"table beyond":    {change(47, 0xff), "not a kernel module"},
		"small headers":   {change(58, 1), "not a kernel module"},
		"no such names":   {change(62, 9), "not a kernel module"},
		"section beyond":  {change(table+64+24, 0, 0, 0, 0, 0, 0, 0, 0x7f), "beyond its end"},
		"section too big": {change(table+64+32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "beyond its end"},
		"no modinfo":      {change(table+64, 2), "no section .modinfo"},
		"name beyond":     {change(table+64, 0xff, 0xff, 0xff, 0xff), "no section .modinfo"},
		"large modinfo":   {elfModule(binary.LittleEndian, true, strings.Repeat("x", maxInfo)), "too large"},
	} {
		if _, err := parseModule(test.b); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseModule wants whatever a module says to be in it.
func FuzzParseModule(f *testing.F) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, wide := range []bool{false, true} {
			f.Add(elfModule(order, wide, "depends=a,b", "softdep=pre: c", "firmware=d"))
		}
	}
	f.Add([]byte(elfMagic))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 200}
	f.Fuzz(func(t *testing.T, b []byte) {
		var info modinfo
		bound.Check(t, len(b), func() { info, _ = parseModule(b) })
		for _, name := range append(info.depends, append(info.wants, info.firmware...)...) {
			if name == "" || !strings.Contains(string(b), name) {
				t.Errorf("%q is not in the module", name)
			}
		}
	})
}

func TestPatterns(t *testing.T) {
	paths := []string{"kernel/drivers/block/loop", "kernel/drivers/block/zram/zram", "kernel/kernel/deep", "kernel/top", "extra/kernel/drivers/block/loop2", "kernel/net/wifi/foo-bar", "kernel/sound/Snd2"}
	for text, want := range map[string][]string{
		"loop":               {"kernel/drivers/block/loop"},
		"block/loop":         {"kernel/drivers/block/loop"},
		"lock/loop":          nil,
		"/drivers/block/":    {"kernel/drivers/block/loop", "kernel/drivers/block/zram/zram"},
		"/kernel/drivers/":   {"kernel/drivers/block/loop", "kernel/drivers/block/zram/zram"},
		"/kernel/drivers":    nil,
		"drivers/*":          {"kernel/drivers/block/loop", "kernel/drivers/block/zram/zram", "extra/kernel/drivers/block/loop2"},
		"k*p":                nil,
		"/k*p":               {"kernel/drivers/block/loop", "kernel/kernel/deep", "kernel/top"},
		"/kernel/deep":       {"kernel/kernel/deep"},
		"b*k/l*":             {"kernel/drivers/block/loop", "extra/kernel/drivers/block/loop2"},
		"block/*/":           {"kernel/drivers/block/zram/zram"},
		"foo_bar":            {"kernel/net/wifi/foo-bar"},
		"wifi/foo-b[a-c]r":   {"kernel/net/wifi/foo-bar"},
		"snd*":               nil,
		"l??p":               {"kernel/drivers/block/loop"},
		"*/":                 paths,
		"*":                  paths,
		"[a-":                nil,
		"kernel/top":         {"kernel/top"},
		"re:drivers/.*/loop": {"kernel/drivers/block/loop", "extra/kernel/drivers/block/loop2"},
		"re:^drivers/":       {"kernel/drivers/block/loop", "kernel/drivers/block/zram/zram"},
		"re:^kernel/":        {"kernel/kernel/deep"},
		"re:\\.ko$":          paths,
		"re:foo_bar":         nil,
	} {
		p, err := parsePattern(text)
		must(t, err)
		var got []string
		for _, name := range paths {
			if p.matches(newModule("", name+".ko", ".ko").candidate) {
				got = append(got, name)
			}
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	if err := (Settings{Modules: []string{"re:a("}}).Check(); err == nil || !strings.Contains(err.Error(), `"re:a("`) {
		t.Errorf("an unfinished expression: %v", err)
	}
	if err := (Settings{Modules: []string{"a(", "-[", "", "-", "/"}}).Check(); err != nil {
		t.Error(err)
	}
}

// FuzzPattern wants a module to be found by its own name, and every pattern to
// be one.
func FuzzPattern(f *testing.F) {
	for _, text := range []string{"loop", "-block/", "/fs/[a-z]*", "re:^a.*b$", "default", "a_b", "-re:x", strings.Repeat("*a", 50)} {
		f.Add(text, "kernel/drivers/block/loop")
	}
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 10000}
	f.Fuzz(func(t *testing.T, text, name string) {
		bound.Check(t, len(text)+len(name), func() {
			p, err := parsePattern(text)
			if err == nil {
				p.matches(newModule("", name, "").candidate)
			}
		})
		if name == "" || strings.ContainsAny(name, "*?[/") || name[0] == '-' || strings.HasPrefix(name, regexpPrefix) {
			return
		}
		p, err := parsePattern(name)
		if err != nil || !p.matches(newModule("", "kernel/"+name, "").candidate) {
			t.Errorf("%q does not find itself: %v", name, err)
		}
	})
}
