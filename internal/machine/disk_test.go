package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// runs is a run of a scene's machine that has begun.
func (s *scene) runs() *running {
	s.t.Helper()
	r := &running{m: s.plan(), ctx: s.t.Context(), end: func(error) {}, dir: s.t.TempDir()}
	s.t.Cleanup(func() {
		if err := r.close(); err != nil {
			s.t.Error(err)
		}
	})
	return r
}

func TestBlockdev(t *testing.T) {
	for want, d := range map[string]disk{
		"driver=raw,node-name=mkosi,discard=unmap,file.driver=file,file.filename=/a,,b,file.aio=threads,cache.direct=off,cache.no-flush=no": {path: "/a,b"},
		"driver=qcow2,node-name=mkosi,discard=unmap,backing.driver=raw,backing.read-only=on,backing.file.driver=file,backing.file.filename=/b," +
			"file.driver=file,file.filename=/a,file.aio=threads,cache.direct=on,cache.no-flush=yes": {path: "/a", backing: "/b", direct: true, throw: true},
	} {
		if got := d.blockdev(false); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestGrow(t *testing.T) {
	s := newScene(t)
	s.table("esp", "root")
	image, plain := filepath.Join(s.dir, "image.raw"), filepath.Join(s.dir, "plain")
	s.write(plain, []byte("no table"), 0o644)
	for _, path := range []string{image, plain} {
		for _, step := range []struct{ size, want int64 }{{8<<20 + 1, 8<<20 + 4096}, {100, 8<<20 + 4096}} {
			if err := grow(path, step.size); err != nil {
				t.Fatal(err)
			}
			if fi, err := os.Stat(path); err != nil || fi.Size() != step.want {
				t.Fatalf("%s has %d bytes, not %d, error %v", path, fi.Size(), step.want, err)
			}
		}
	}
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if found, err := gpt.Read(f, 8<<20+4096, 512); err != nil || found.Primary != nil || found.Backup != nil {
		t.Errorf("the table is %+v, error %v", found, err)
	}
}

func TestEphemeralDiskLeavesTheImageAlone(t *testing.T) {
	for name, size := range map[string]int64{"of the same size": 0, "a larger one": 6 << 20} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.table("root")
			image := filepath.Join(s.dir, "image.raw")
			before, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			s.img.Ephemeral = true
			if size > 0 {
				s.img.RuntimeSize = &size
			}
			r := s.runs()
			if err := r.prepareDisk(t.Context()); err != nil {
				t.Fatal(err)
			}
			fi, err := os.Stat(r.disk.path)
			if err != nil || r.disk.path == image || !r.disk.throw {
				t.Fatalf("the disk is %+v, error %v", r.disk, err)
			}
			if size > 0 && (fi.Size() != size || r.disk.backing != "") {
				t.Errorf("the disk is %+v and has %d bytes", r.disk, fi.Size())
			}
			after, err := os.ReadFile(image)
			if err != nil || !bytes.Equal(before, after) {
				t.Error("the image was changed")
			}
		})
	}
}

func TestOverlay(t *testing.T) {
	for _, size := range []int64{0, 1, 512 << 20, 512<<20 + 1, 40 << 40} {
		f, err := os.Create(filepath.Join(t.TempDir(), "overlay"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := writeOverlay(f, size); err != nil {
			t.Fatal(err)
		}
		header := make([]byte, overlayHeader)
		counts := make([]byte, cluster)
		_, err = f.ReadAt(header, 0)
		_, countsErr := f.ReadAt(counts, countBlockAt)
		fi, statErr := f.Stat()
		if err := errors.Join(err, countsErr, statErr); err != nil {
			t.Fatal(err)
		}
		be := binary.BigEndian
		entries := int64(be.Uint32(header[36:]))
		if got := int64(be.Uint64(header[24:])); got != size || entries*perFirstEntry < size || (entries-1)*perFirstEntry >= max(size, 1) {
			t.Errorf("%d bytes: the header says %d, with %d entries", size, got, entries)
		}
		used := fi.Size() / cluster
		if be.Uint16(counts[2*(used-1):]) != 1 || be.Uint16(counts[2*used:]) != 0 {
			t.Errorf("%d bytes: not all of %d clusters are counted once", size, used)
		}
	}
}

func TestDrives(t *testing.T) {
	s := newScene(t)
	dir := t.TempDir()
	s.img.Drives = []config.Drive{
		{ID: "a", Size: 8192, Directory: dir, FileID: "shared", Flags: []string{"persist"}},
		{ID: "b", Size: 1, FileID: "shared", Options: "read-only=on"},
		{ID: "c", Size: 4096, Directory: dir},
	}
	kept := filepath.Join(dir, "mkosi-drive-name-shared")
	if err := os.WriteFile(kept, bytes.Repeat([]byte("x"), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	r := s.runs()
	if err := r.prepareDrives(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(kept)
	if err != nil || len(data) != 8192 || data[0] != 'x' {
		t.Errorf("the kept drive has %d bytes, error %v", len(data), err)
	}
	if len(r.drives) != 3 || r.drives[0].path != kept || r.drives[1].path != kept || filepath.Dir(r.drives[2].path) == dir {
		t.Fatalf("the drives are %+v", r.drives)
	}
	if got := r.drives[1].blockdev(true); !strings.HasPrefix(got, "driver=raw,node-name=b,file.driver=file,file.filename="+kept+",file.aio=io_uring,file.locking=off,") || !strings.HasSuffix(got, ",read-only=on") {
		t.Errorf("got %s", got)
	}
	// Others can put a file of that name into a directory that is everybody's.
	elsewhere := filepath.Join(dir, "elsewhere")
	s.write(elsewhere, nil, 0o600)
	for name, plant := range map[string]func() error{
		"a link":       func() error { return os.Symlink(elsewhere, kept) },
		"another name": func() error { return os.Link(elsewhere, kept) },
		"a pipe":       func() error { return unix.Mkfifo(kept, 0o600) },
		"a directory":  func() error { return os.Mkdir(kept, 0o700) },
	} {
		if err := errors.Join(os.Remove(kept), plant()); err != nil {
			t.Fatal(err)
		}
		err := s.runs().prepareDrives()
		if info, statErr := os.Stat(elsewhere); err == nil || statErr != nil || info.Size() != 0 {
			t.Errorf("%s was taken for the kept drive: error %v, and the other file has %d bytes, %v", name, err, info.Size(), statErr)
		}
	}
	s.img.Drives = []config.Drive{{ID: "../up", Size: 1}}
	if err := s.runs().prepareDrives(); err == nil {
		t.Error("the name of a drive led out of its directory")
	}
}

// foreign is a file of another user.
type foreign struct{ fs.FileInfo }

func (f foreign) Sys() any {
	st := *f.FileInfo.Sys().(*syscall.Stat_t)
	st.Uid++
	return &st
}

func TestOwnFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := ownFile(path, info); err != nil {
		t.Error(err)
	}
	if err := ownFile(path, foreign{info}); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("got %v", err)
	}
}
