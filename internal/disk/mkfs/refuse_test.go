package mkfs

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

// What a program cannot do, or would lose, is refused before anything is made.
func TestRefused(t *testing.T) {
	with := func(change func(e *content.Entry)) content.Tree {
		e := text("x", "")
		change(&e)
		return content.Tree{folder(""), e}
	}
	plain := with(func(*content.Entry) {})
	xattr := with(func(e *content.Entry) { e.Xattrs = []content.Xattr{{Name: "user.x"}} })
	device := with(func(e *content.Entry) { e.Mode = unix.S_IFCHR })
	links := content.Tree{folder(""), text("a", ""), text("b", "")}
	links[2].HardLink, links[2].Link = true, "a"
	topXattr := content.Tree{folder("")}
	topXattr[0].Xattrs = []content.Xattr{{Name: "user.x", Value: []byte("y")}}
	subvolumes := func(s ...repart.Subvolume) func(o *Options) {
		return func(o *Options) { o.Subvolumes = s }
	}
	for _, tt := range []struct {
		format, version string
		entries         content.Tree
		change          func(o *Options)
		want            string
	}{
		{"xfs", "6.16.9", plain, nil, "mkfs.xfs 6.17 or newer, this machine has 6.16.9"},
		{"xfs", "6.1", topXattr, nil, "mkfs.xfs 6.17 or newer"},
		{"xfs", "7.2", device, nil, "device"},
		{"xfs", "7.2", xattr, nil, "user.x"},
		{"xfs", "7.2", with(func(e *content.Entry) { e.Mode, e.Target = unix.S_IFLNK, strings.Repeat("x", 1025) }), nil, "too long"},
		{"xfs", "7.2", plain, func(o *Options) { o.Minimize = repart.MinimizeBest }, "Minimize=best"},
		{"xfs", "7.2", plain, subvolumes(repart.Subvolume{Path: "/a"}), "Subvolumes="},
		{"btrfs", "6.2", topXattr, nil, "mkfs.btrfs 6.5.3 or newer"},
		{"btrfs", "6.11", links, nil, "mkfs.btrfs 6.12 or newer"},
		{"btrfs", "6.11", plain, subvolumes(repart.Subvolume{Path: "/a"}), "Subvolumes= needs mkfs.btrfs 6.12"},
		{"btrfs", "6.14", plain, subvolumes(repart.Subvolume{Path: "/a", NoDataCow: true}), "nodatacow in Subvolumes= needs mkfs.btrfs 6.15"},
		{"btrfs", "7.1", plain, subvolumes(repart.Subvolume{Path: "/x/y"}), "/x is not a folder"},
		{"btrfs", "7.1", plain, func(o *Options) { o.DefaultSubvolume = "/x" }, "none of Subvolumes="},
		{"btrfs", "6.12", plain, func(o *Options) { o.Compression = "zstd" }, "mkfs.btrfs 6.13 or newer"},
		{"f2fs", "1.16.0", device, nil, "device"},
		{"f2fs", "1.16.0", xattr, nil, "user.x"},
		{"f2fs", "1.16.0", with(func(e *content.Entry) { e.UID = math.MaxUint16 + 1 }), nil, "65536"},
		{"erofs", "1.9", with(func(e *content.Entry) { e.Mtime = -1 }), nil, "1970"},
		{"squashfs", "4.7", plain, func(o *Options) { o.Compression, o.CompressionLevel = "xz", "3" }, "CompressionLevel=3"},
		{"ext3", "1", plain, nil, "ext3"},
		{"xfs", "none", plain, nil, "does not say which version"},
	} {
		h := &host{version: tt.version}
		o := h.options(t, tt.format)
		if tt.change != nil {
			tt.change(&o)
		}
		if _, err := Plan(t.Context(), tt.entries, o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %q", tt.format, tt.version, err, tt.want)
		}
		if len(h.ran) > 0 {
			t.Errorf("%s %s: ran %q", tt.format, tt.version, h.ran)
		}
		if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// A missing program is told with the package that has it, and is known before.
func TestMissing(t *testing.T) {
	for format, tools := range tools {
		if format == repart.FormatExt4 {
			continue
		}
		_, err := Plan(t.Context(), content.Tree{folder("")}, (&host{}).options(t, format))
		var missing *program.MissingError
		if !errors.As(err, &missing) || missing.Program != tools[0].name || missing.Package != tools[0].pkg {
			t.Errorf("%s: %v", format, err)
		}
	}
	for _, tt := range []struct {
		def  repart.Definition
		want []Program
	}{
		{repart.Definition{Format: repart.FormatErofs, Compression: "zstd"}, nil},
		{repart.Definition{Format: repart.FormatErofs, Compression: "lzma"}, []Program{{"mkfs.erofs", "erofs-utils", "Format=erofs"}}},
		{repart.Definition{Format: repart.FormatF2FS}, []Program{{"mkfs.f2fs", "f2fs-tools", "Format=f2fs"}, {"sload.f2fs", "f2fs-tools", "Format=f2fs"}}},
		{repart.Definition{Format: repart.FormatVFAT}, nil},
	} {
		if diff := cmp.Diff(tt.want, Programs(&tt.def)); diff != "" {
			t.Errorf("programs for %s (-want +got):\n%s", tt.def.Format, diff)
		}
	}
}

// A program that cannot be started is an error like any other.
func TestRunFails(t *testing.T) {
	h := &host{version: "7.1", do: func(program.Command) error { return fs.ErrPermission }}
	if _, err := Plan(t.Context(), content.Tree{folder("")}, h.options(t, repart.FormatErofs)); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

func TestXFSACL(t *testing.T) {
	in := "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xd2\x04\x00\x00"
	want := "\x00\x00\x00\x02" + "\x00\x00\x00\x01\xff\xff\xff\xff\x00\x06\x00\x00" + "\x00\x00\x00\x02\x00\x00\x04\xd2\x00\x04\x00\x00"
	x, err := xfsXattr(content.Xattr{Name: "system.posix_acl_default", Value: []byte(in)})
	if err != nil || x.Name != "trusted.SGI_ACL_DEFAULT" || string(x.Value) != want {
		t.Errorf("%s: %x, %v", x.Name, x.Value, err)
	}
	for _, bad := range []string{"", "\x02\x00\x00", in[:8], "\x01" + in[1:]} {
		if x, err := xfsXattr(content.Xattr{Name: "system.posix_acl_access", Value: []byte(bad)}); err == nil {
			t.Errorf("%x was accepted as %x", bad, x.Value)
		}
	}
}

func TestCut(t *testing.T) {
	for in, want := range map[string]string{"short": "short", "a-label-that-is-long": "a-label-that", "ääääääää": "ääääää", "xääääääää": "xäääää"} {
		if got := cut(in, 12); got != want {
			t.Errorf("%s is cut to %s", in, got)
		}
	}
}
