package sandbox

import (
	"bytes"
	"reflect"
	"syscall"
	"testing"
)

func testSpec() *spec {
	return &spec{
		args: []string{"prog", "", "a\xffb"},
		env:  []string{"A=b"},
		dir:  "/x",
		ops: []Op{
			Bind("/a", "/b").Try().NoFollow(),
			BindReadOnly("/a", "/b").Inside(),
			Overlay(OverlayLayers{Lower: []string{"/1", "/2"}, Upper: "/u", Work: "/w"}, "/o"),
			Overlay(OverlayLayers{Lower: []string{"/1"}, Ephemeral: true}, "/o").Lasting(),
			WriteFile("/f", []byte("x\x00y"), 0o640),
			Tmpfs("/tmp"), Dev("/dev"), Proc("/proc"), Symlink("a", "/b"), Dir("/d", 0o700),
		},
		flags:        flagNetwork | flagSuppressSync,
		capabilities: []int{21, 1},
		extraFiles:   2,
	}
}

func TestSpecRoundTrip(t *testing.T) {
	for _, want := range []*spec{{}, testSpec()} {
		got, err := decodeSpec(want.encode())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	data := testSpec().encode()
	for i := range data {
		if _, err := decodeSpec(data[:i]); err == nil {
			t.Errorf("no error for the first %d bytes", i)
		}
	}
	if _, err := decodeSpec(append(data, 0)); err == nil {
		t.Error("no error for a byte too many")
	}
}

func FuzzDecodeSpec(f *testing.F) {
	f.Add([]byte{})
	f.Add((&spec{}).encode())
	f.Add(testSpec().encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSpec(data)
		if err != nil {
			return
		}
		again, err := decodeSpec(s.encode())
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	})
}

func TestReport(t *testing.T) {
	var e encoder
	for _, s := range []string{"/root", "name"} {
		if len(e) == 0 {
			e.number(reportCreated)
		}
		e.string(s)
	}
	created := bytes.Clone(e)
	e.number(reportStarted)
	e.number(reportExited)
	e.number(3 << 8)
	exited := bytes.Clone(e)
	// What comes when the command runs is not to be believed.
	forged := append(append(bytes.Clone(created), reportStarted), created...)

	if r := decodeReport(exited); len(r.created) != 1 || !r.started || !r.exited || r.status.ExitStatus() != 3 {
		t.Errorf("got %+v", r)
	}
	if r := decodeReport(forged); len(r.created) != 1 {
		t.Errorf("got %+v", r)
	}
	if r := decodeReport([]byte{reportExited, 0}); r.exited {
		t.Errorf("got %+v", r)
	}
	failed := encoder{reportFailed, byte(syscall.ENOENT)}
	failed.string("text")
	if r := decodeReport(failed); r.failure == nil || r.failure.Error() != "text" || r.failure.(*setupError).errno != syscall.ENOENT {
		t.Errorf("got %+v", r)
	}
}

func FuzzDecodeReport(f *testing.F) {
	f.Add([]byte{reportCreated, 1, 'a', 1, 'b', reportStarted, reportExited, 0})
	f.Add([]byte{reportFailed, 2, 3, 'a', 'b', 'c'})
	f.Fuzz(func(t *testing.T, data []byte) {
		if r := decodeReport(data); r.exited && !r.started {
			t.Errorf("%+v ended and never started", r)
		}
	})
}
