package archive

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWriteCPIOFiles(t *testing.T) {
	files := []CPIOFile{{"a/b/c", []byte("first")}, {"a/b/d", nil}, {"a/x", []byte("12345678")}, {"z", []byte("last")}}
	var b bytes.Buffer
	must(t, WriteCPIOFiles(&b, files, time.Unix(1e9, 0)))
	if b.Len()%512 != 0 {
		t.Errorf("length %d is not a multiple of 512", b.Len())
	}
	want := []string{
		`a 0 4 2 ""`, `a/b 1 4 2 ""`, `a/b/c 2 10 1 "first"`, `a/b/d 3 10 1 ""`, `a/x 4 10 1 "12345678"`, `z 5 10 1 "last"`,
	}
	if diff := cmp.Diff(want, listCPIO(t, bytes.NewReader(b.Bytes()))); diff != "" {
		t.Error(diff)
	}
	r := NewCPIOReader(&b)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		if h.ModTime.Unix() != 1e9 || h.Mode&0o777 != map[uint32]uint32{4: 0o755, 8: 0o644}[h.Mode>>12] || h.UID != 0 {
			t.Errorf("%+v", h)
		}
	}
	for _, name := range []string{"/a", "a/", "../b", "", ".", "a//b"} {
		if err := WriteCPIOFiles(io.Discard, []CPIOFile{{Name: name}}, time.Unix(1, 0)); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	if err := WriteCPIOFiles(io.Discard, nil, time.Unix(-1, 0)); err == nil {
		t.Error("a time before 1970 was written")
	}
}
