package archive

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// text is compressible and the same in every run.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"root", "usr", "lib", "systemd", "\x00\x01", "mkosi", "image"}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(byte(r.IntN(256)))
	}
	return b.Bytes()[:n]
}

func compress(t *testing.T, c Compression, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, c, level)
	must(t, err)
	_, err = io.Copy(w, bytes.NewReader(data))
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func TestCompressionRoundTrip(t *testing.T) {
	data := text(300 << 10)
	for _, c := range []Compression{None, Zstd, Gzip, XZ} {
		for _, level := range []int{0, 1, 9} {
			for _, d := range [][]byte{nil, data} {
				packed := compress(t, c, level, d)
				r, got, err := NewReader(bytes.NewReader(packed))
				must(t, err)
				if got != c {
					t.Errorf("%s is taken for %q", c, got)
				}
				out, err := io.ReadAll(r)
				must(t, err)
				must(t, r.Close())
				if !bytes.Equal(out, d) {
					t.Errorf("%s level %d: %d bytes became %d others", c, level, len(d), len(out))
				}
			}
		}
	}
}

func TestCompressionIsDeterministic(t *testing.T) {
	data := text(9 << 20)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := compress(t, Zstd, 3, data)
	for _, procs := range []int{2, 3, 8} {
		runtime.GOMAXPROCS(procs)
		if !bytes.Equal(want, compress(t, Zstd, 3, data)) {
			t.Errorf("%d CPUs give other bytes than one", procs)
		}
	}
}

func TestZstdIsOneFrame(t *testing.T) {
	// The kernel unpacks one frame of an initrd and no more.
	packed := compress(t, Zstd, 3, text(24<<20))
	if n := bytes.Count(packed, []byte("\x28\xb5\x2f\xfd")); n != 1 {
		t.Errorf("%d frames", n)
	}
}

func TestUnsupportedCompression(t *testing.T) {
	for _, c := range []Compression{BZip2, LZ4, LZMA} {
		_, err := NewWriter(io.Discard, c, 0)
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), string(c)) {
			t.Errorf("%s: %v", c, err)
		}
	}
	for c, level := range map[Compression]int{Zstd: 23, Gzip: 10, XZ: -1} {
		if _, err := NewWriter(io.Discard, c, level); err == nil {
			t.Errorf("%s takes level %d", c, level)
		}
	}
	if _, _, err := NewReader(strings.NewReader("\x04\x22\x4d\x18more")); !errors.Is(err, ErrUnsupported) {
		t.Errorf("reading lz4: %v", err)
	}
}

func TestParseCompression(t *testing.T) {
	for name, want := range map[string]Compression{"": None, "none": None, "zst": Zstd, "zstd": Zstd, "gz": Gzip, "gzip": Gzip, "xz": XZ, "bz2": BZip2} {
		got, err := ParseCompression(name)
		if err != nil || got != want {
			t.Errorf("%q is %q, %v", name, got, err)
		}
	}
	if _, err := ParseCompression("rar"); err == nil {
		t.Error("rar is known")
	}
	for c, want := range map[Compression]string{None: "", Zstd: ".zst", Gzip: ".gz", XZ: ".xz", BZip2: ".bz2", LZ4: ".lz4", LZMA: ".lzma"} {
		if got := c.Extension(); got != want {
			t.Errorf("%q has the extension %q", c, got)
		}
	}
}
