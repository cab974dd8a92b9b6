package mkfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
	"github.com/mkosi-go/mkosi/internal/disk/program"
	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/internal/tree"
)

// That the programs make what they should is tested with them in the
// integration tests. Here they are stood in for.

// text is an entry with content, owned by whoever runs the test.
func text(path, s string) content.Entry {
	return content.Entry{
		Path: path, Mode: unix.S_IFREG | 0o640, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
		Mtime: 1600000000, MtimeNsec: 5, Size: int64(len(s)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil },
	}
}

func folder(path string) content.Entry {
	e := text(path, "")
	e.Mode, e.Open = unix.S_IFDIR|0o755, nil
	return e
}

// host runs programs that do not exist: it answers with their versions, keeps
// the command line of everything else, and calls do for it.
type host struct {
	version string
	ran     [][]string
	env     []string
	do      func(c program.Command) error
}

func (h *host) run(_ context.Context, c program.Command) error {
	if len(c.Args) == 2 && slices.Contains([]string{"-V", "--version", "-version"}, c.Args[1]) {
		if h.version == "" {
			return fs.ErrNotExist
		}
		_, err := fmt.Fprintf(c.Stdout, "%s version %s\n", c.Args[0], h.version)
		return err
	}
	h.ran, h.env = append(h.ran, c.Args), c.Env
	if h.do == nil {
		return nil
	}
	return h.do(c)
}

func (h *host) options(t *testing.T, format string) Options {
	return Options{
		Format: format, UUID: uuid.MustParse("3d30965a-0981-46f6-a67a-9c6bc38538e6"), Label: "a-label-that-is-long",
		BuildTime: 1700000000, Dir: t.TempDir(), Run: h.run,
	}
}

// stable replaces the names of temporary files in command lines.
func stable(ran [][]string, o Options) []string {
	var out []string
	for _, argv := range ran {
		line := strings.Join(argv, " ")
		if names, _ := filepath.Glob(filepath.Join(o.Dir, "mkfs-*")); len(names) == 1 {
			line = strings.ReplaceAll(line, names[0], "DIR")
		}
		out = append(out, line)
	}
	return out
}

func TestSquashfsStream(t *testing.T) {
	h := &host{version: "4.6.1"}
	o := h.options(t, repart.FormatSquashfs)
	o.Compression, o.CompressionLevel, o.ExtraOptions = "zstd", "7", []string{"-b", "64K"}
	top := folder("")
	top.Xattrs = []content.Xattr{{Name: "system.posix_acl_access"}, {Name: "user.x", Value: []byte("a\x00")}}
	file := text("dir/file", "hello")
	file.Xattrs = []content.Xattr{{Name: "security.y", Value: []byte("\x00=\n")}}
	link := file
	link.Path, link.HardLink, link.Link = "dir/link", true, "dir/file"
	old := text("old", "")
	old.Mtime = -5
	socket := text(`so"ck`, "")
	socket.Mode = unix.S_IFSOCK | 0o755
	node := content.Entry{Path: "node", Mode: unix.S_IFBLK | 0o600, Major: 259, Minor: 70000}
	sym := content.Entry{Path: "sym", Mode: unix.S_IFLNK | 0o777, Target: "to"}
	var got []string
	h.do = func(c program.Command) error {
		r := tar.NewReader(c.Stdin)
		for {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
			b, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			got = append(got, fmt.Sprintf("%s %c %o %d %d,%d %q %q %q", e.Name, e.Typeflag, e.Mode, e.ModTime.Unix(), e.Devmajor, e.Devminor, e.Linkname, b, e.PAXRecords["SCHILY.xattr.security.y"]))
		}
		return os.WriteFile(c.Args[2], []byte(strings.Repeat("squashfs", 1024)), 0o600)
	}
	im, err := Plan(t.Context(), content.Tree{top, folder("dir"), file, link, node, old, socket, sym}, o)
	if err != nil {
		t.Fatal(err)
	}
	owner := fmt.Sprintf("-root-uid %d -root-gid %d", os.Getuid(), os.Getgid())
	ids := fmt.Sprintf("%d %d", os.Getuid(), os.Getgid())
	want := []string{`mksquashfs - DIR/image -tar -noappend -no-progress -comp zstd -Xcompression-level 7 -root-mode 0755 ` + owner +
		` -root-time 1600000000 -p / x user.x=0sYQA= -p "so\"ck" I 1600000000 0755 ` + ids + ` s -b 64K`}
	if diff := cmp.Diff(want, stable(h.ran, o)); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
	want = []string{
		`dir/ 5 755 1600000000 0,0 "" "" ""`,
		`dir/file 0 640 1600000000 0,0 "" "hello" "\x00=\n"`,
		`dir/link 1 640 1600000000 0,0 "dir/file" "" ""`,
		`node 4 600 0 259,70000 "" "" ""`,
		`old 0 640 0 0,0 "" "" ""`,
		`sym 2 777 0 0,0 "to" "" ""`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if im.Size() != 8192 || !im.Fixed() {
		t.Errorf("size %d, fixed %t", im.Size(), im.Fixed())
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := im.Write(t.Context(), f, 4096, 8191); err == nil {
		t.Error("there was not enough room")
	}
	if err := errors.Join(im.Write(t.Context(), f, 4096, 10000), im.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil || strings.Trim(string(b), "\x00") != strings.Repeat("squashfs", 1024) || len(b) != 4096+8192 {
		t.Errorf("image of %d bytes, %v", len(b), err)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A file that cannot be read is the error, whatever the program makes of it,
// and a program that fails is one even though it does not read everything.
func TestSquashfsStreamFails(t *testing.T) {
	failed := errors.New("failed")
	broken := text("file", "hello")
	broken.Open = func() (io.ReadCloser, error) { return nil, failed }
	large := text("file", strings.Repeat("x", 1<<20))
	for _, tt := range []struct {
		entry content.Entry
		do    func(c program.Command) error
	}{
		{broken, func(c program.Command) error { io.Copy(io.Discard, c.Stdin); return nil }},
		{broken, func(c program.Command) error { _, err := io.Copy(io.Discard, c.Stdin); return err }},
		{large, func(program.Command) error { return failed }},
	} {
		h := &host{version: "4.7", do: tt.do}
		o := h.options(t, repart.FormatSquashfs)
		if _, err := Plan(t.Context(), content.Tree{folder(""), tt.entry}, o); !errors.Is(err, failed) {
			t.Errorf("error %v", err)
		}
		if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// The folder that programs read shows what the tree says.
func TestStage(t *testing.T) {
	h := &host{version: "4.5.1"}
	o := h.options(t, repart.FormatSquashfs)
	source := t.TempDir()
	for _, dir := range []string{"a/b", "c"} {
		if err := os.MkdirAll(filepath.Join(source, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(source, name) }
	do(os.WriteFile(at("a/b/file"), []byte("hello"), 0o640))
	do(os.Link(at("a/b/file"), at("c/link")))
	do(os.Symlink("nowhere", at("a/sym")))
	do(unix.Mkfifo(at("a/pipe"), 0o620))
	do(unix.Lsetxattr(at("a/b/file"), "user.x", []byte("1"), 0))
	sparse, err := os.Create(at("sparse"))
	do(err)
	_, err = sparse.WriteAt([]byte("x"), 1<<20)
	do(errors.Join(err, sparse.Truncate(3<<20), sparse.Close()))
	do(os.Chmod(at("a/b/file"), 0o4755))
	do(os.Chmod(at("a/b"), 0o555)) // not writable
	before := times(t, source)
	entries, closeTree, err := content.Read(t.Context(), content.Selection{Root: source, Copies: []content.Copy{{Source: "/", Target: "/"}}})
	do(err)
	defer closeTree()
	h.do = func(c program.Command) error {
		diffs, err := tree.Compare(t.Context(), source, c.Args[1], tree.CompareOptions{})
		if len(diffs) > 0 {
			t.Errorf("the folder differs: %v", diffs)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(c.Args[1], "sparse"), &st); err != nil || st.Blocks*512 > 1<<20 {
			t.Errorf("%d bytes of the sparse file are stored, %v", st.Blocks*512, err)
		}
		return err
	}
	im, err := Plan(t.Context(), entries, o)
	do(err)
	do(im.Close())
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if diff := cmp.Diff(before, times(t, source)); diff != "" {
		t.Errorf("the source was touched:\n%s", diff)
	}
	if h.ran[0][0] != "mksquashfs" || slices.Contains(h.ran[0], "-tar") {
		t.Errorf("ran %q", h.ran)
	}
}

// times are when the files of a tree were last changed.
func times(t *testing.T, root string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		out[path] = -1
		if err == nil {
			err = unix.Lstat(path, &st)
			out[path] = st.Ctim.Nano()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What is asked for decides how programs are called.
func TestCommandLines(t *testing.T) {
	for name, tt := range map[string]struct {
		version string
		change  func(o *Options)
		want    []string
	}{
		"xfs": {"6.17.0", func(o *Options) { o.ExtraOptions = []string{"-i", "size=1024"} }, []string{
			"mkfs.xfs -q -L a-label-that -m uuid=3d30965a-0981-46f6-a67a-9c6bc38538e6 -m reflink=1 -p DIR/tree -s size=4096 DIR/image -i size=1024",
		}},
		"btrfs": {"7.1", func(o *Options) {
			o.Compression, o.CompressionLevel, o.Minimize = "zstd", "5", repart.MinimizeBest
			o.Subvolumes = []repart.Subvolume{{Path: "/var", ReadOnly: true}, {Path: "/new/home", NoDataCow: true}}
			o.DefaultSubvolume = "/new/home"
		}, []string{
			"mkfs.btrfs -q -L a-label-that-is-long -U 3d30965a-0981-46f6-a67a-9c6bc38538e6 -r DIR/tree " +
				"--device-uuid 86277071-b244-5e78-b4d2-16d1bbd5915b --compress zstd:5 --sectorsize=4096 DIR/image --shrink " +
				"--subvol ro:/var --subvol default:/new/home --inode-flags nodatacow:/new/home",
		}},
		"f2fs": {"1.15.0", func(o *Options) { o.SectorSize = 512 }, []string{
			"mkfs.f2fs -q -l a-label-that-is-long -U 3d30965a-0981-46f6-a67a-9c6bc38538e6 -w 512 -t 0 -r -R 0:0 -T 1600000000 DIR/image",
			"sload.f2fs -P -f DIR/tree DIR/image",
		}},
		"erofs": {"1.5", func(o *Options) { o.Compression, o.CompressionLevel = "lz4hc", "9" }, []string{
			"mkfs.erofs -U 3d30965a-0981-46f6-a67a-9c6bc38538e6 --quiet -zlz4hc,9 DIR/image DIR/tree",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &host{version: tt.version}
			o := h.options(t, name)
			tt.change(&o)
			var lines []string
			h.do = func(program.Command) error {
				lines = stable(h.ran, o)
				return nil
			}
			top := folder("")
			top.UID, top.GID = 0, 0
			entries := content.Tree{top, text("file", "x"), folder("var")}
			if os.Getuid() != 0 {
				entries[0].UID, entries[0].GID = uint32(os.Getuid()), uint32(os.Getgid())
			}
			im, err := Plan(t.Context(), entries, o)
			if err == nil {
				f, createErr := os.Create(filepath.Join(t.TempDir(), "image"))
				if createErr != nil {
					t.Fatal(createErr)
				}
				defer f.Close()
				err = errors.Join(im.Write(t.Context(), f, 0, 1<<30), im.Close())
			}
			// There is nothing to repair in a file of zeros.
			if (name == "btrfs" || name == "xfs") && (err == nil || !strings.Contains(err.Error(), "there is no "+name)) {
				t.Errorf("error %v", err)
			} else if name != "btrfs" && name != "xfs" && err != nil {
				t.Error(err)
			}
			want := slices.Clone(tt.want)
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "-R 0:0", fmt.Sprintf("-R %d:%d", os.Getuid(), os.Getgid()))
			}
			if diff := cmp.Diff(want, lines); diff != "" {
				t.Errorf("programs (-want +got):\n%s", diff)
			}
		})
	}
}
