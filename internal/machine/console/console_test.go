package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// newPty makes a pseudo terminal and returns the user's side and the programs'.
func newPty(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

func settings(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

func TestAttachPassesKeysAndRestores(t *testing.T) {
	user, program := newPty(t)
	before := settings(t, program)
	a, err := Attach(program, program)
	if err != nil {
		t.Fatal(err)
	}
	if settings(t, program) == before {
		t.Error("the terminal is as it was")
	}
	// Neither Ctrl-C nor Ctrl-D mean anything, and a lone Ctrl-] is the guest's.
	typed := "a\x03\x04\x1d\r"
	if _, err := io.WriteString(user, typed); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(typed))
	if _, err := io.ReadFull(a.Input, got); err != nil || string(got) != typed {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := io.WriteString(user, "\x1d\x1d\x1d"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(a.Input); err != nil {
		t.Error(err)
	}
	<-a.Left()
	a.Close()
	a.Close()
	if settings(t, program) != before {
		t.Error("the terminal was not given back as it was")
	}
	if n, err := a.Input.Read(got); n != 0 || err != io.EOF {
		t.Errorf("reading after the end: %d, %v", n, err)
	}
}

// A read that waits for keys must end, and leave what is typed later to others.
func TestCloseEndsReading(t *testing.T) {
	user, program := newPty(t)
	a, err := Attach(program, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := a.Input.Read(make([]byte, 10))
		ended <- err
	}()
	a.Close()
	if err := <-ended; err != io.EOF {
		t.Errorf("got %v", err)
	}
	if _, err := io.WriteString(user, "later\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(program, got); err != nil || string(got) != "later\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAttachWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	a, err := Attach(strings.NewReader("one\n\x1d\x1d\x1d"), &out)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got, err := io.ReadAll(a.Input); err != nil || string(got) != "one\n\x1d\x1d\x1d" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := io.WriteString(a.Output, "\x1bc"); err != nil || out.String() != "\x1bc" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// Whatever a guest has left the terminal with, it is tidied, also when nothing is typed.
func TestTidy(t *testing.T) {
	user, program := newPty(t)
	raw, err := Raw(program) // so that what is written comes as it is
	if err != nil {
		t.Fatal(err)
	}
	defer raw()
	a, err := Attach(strings.NewReader(""), program)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	Tidy(program)
	got := make([]byte, 2*len(leave))
	if _, err := io.ReadFull(user, got); err != nil || string(got) != leave+leave {
		t.Errorf("got %q, %v", got, err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	Tidy(file)
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("a file is no terminal: %v, %v", info, err)
	}
}

func TestLasting(t *testing.T) {
	broken := 0
	var out bytes.Buffer
	w := Lasting(&out, func() { broken++ })
	if _, err := io.WriteString(w, "seen"); err != nil || out.String() != "seen" || broken != 0 {
		t.Errorf("got %q, %v, broken %d", out.String(), err, broken)
	}
	user, program := newPty(t)
	w = Lasting(user, func() { broken++ })
	program.Close()
	user.Close()
	for range 2 {
		if n, err := io.WriteString(w, "unseen"); n != 6 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	if broken != 1 {
		t.Errorf("broken %d times", broken)
	}
}

func TestLeaver(t *testing.T) {
	for name, tt := range map[string]struct {
		keys string
		step time.Duration // between keys
		want string        // what the guest gets
		left bool
	}{
		"three at once":     {"ab\x1d\x1d\x1dc", 0, "ab\x1d\x1d", true},
		"three in a second": {"\x1d\x1d\x1d", 500 * time.Millisecond, "\x1d\x1d", true},
		"three in two":      {"\x1d\x1d\x1d", time.Second, "\x1d\x1d\x1d", false},
		"another between":   {"\x1d\x1dx\x1d\x1d", 0, "\x1d\x1dx\x1d\x1d", false},
		"the last of many":  {"\x1d\x1d\x1d", 501 * time.Millisecond, "\x1d\x1d\x1d", false},
	} {
		t.Run(name, func(t *testing.T) {
			clock := time.Unix(0, 0)
			l := &leaver{keys: iotest.OneByteReader(strings.NewReader(tt.keys)), left: make(chan struct{})}
			l.now = func() time.Time { clock = clock.Add(tt.step); return clock }
			got, err := io.ReadAll(l)
			if err != nil || string(got) != tt.want || l.ended != tt.left {
				t.Errorf("got %q, left %v, %v", got, l.ended, err)
			}
		})
	}
}

func TestScreen(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"text and colours":     {"a\r\n\x1b[31mred\x1b[0m\x1b(B", "a\r\n\x1b[31mred\x1b[0m\x1b(B"},
		"firmware":             {"\x1bc\x1b[?7l\x1b[2J\x1b[=3h\x1b[8;25;80tBdsDxe", "\n\n\x1b[0m\x1b[H\x1b[2J\x1b[2JBdsDxe"},
		"history":              {"x\x1b[3Jy", "xy"},
		"a title":              {"\x1b]0;title\x07z", "\x1b]0;title\x07z"},
		"clearing twice":       {"\x1b[2J1\x1b[2J", "\n\n\x1b[2J1\x1b[2J"},
		"an unfinished one":    {"a\x1b[12", "a"},
		"broken by a newline":  {"\x1b[1\nb", "\x1b[1\nb"},
		"a string with an ESC": {"\x1bP1\x1b\\c", "\x1bP1\x1b\\c"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pieces := range []int{1, len(tt.in)} {
				var out bytes.Buffer
				s := newScreen(&out, func() int { return 2 })
				if err := writeInPieces(s, tt.in, pieces); err != nil || out.String() != tt.want {
					t.Errorf("in pieces of %d: got %q, %v", pieces, out.String(), err)
				}
			}
		})
	}
}

func writeInPieces(w io.Writer, text string, size int) error {
	for len(text) > 0 {
		n := min(size, len(text))
		if _, err := io.WriteString(w, text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	in := "\x1b[0;32m  OK  \x1b[0m a\tb\r\n\x1b]8;;http://x\x1b\\link\x07\x00\x7f\né"
	if err := writeInPieces(Plain(&out), in, 3); err != nil || out.String() != "  OK   a\tb\nlink\né" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestLimited(t *testing.T) {
	var out bytes.Buffer
	if err := writeInPieces(Limited(&out, 5), "0123456789", 3); err != nil || out.String() != "01234\n[more than 5 bytes: the rest is not kept]\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	broken := errors.New("broken")
	if err := writeInPieces(Limited(failing{broken}, 5), "abc", 3); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestWatch(t *testing.T) {
	for text, want := range map[string]string{
		"\r\nbootable login: ":                           "login",
		"host login: root (automatic login)\r\n":         "login",
		"\x1b[1mhost\x1b[0m lo\x1b[0mgin: ":              "login",
		"systemd-logind.service - User Login Management": "",
		"login": "",
		"\r\nYou are in \x1b[1memergency mode. After":               "the guest ended in an emergency shell",
		"[    1.0] Kernel panic - not syncing: VFS: a\r\nb login: ": "the guest's kernel panicked",
		"BdsDxe: No bootable option or device was found.\r\n":       "the firmware finds nothing to boot from",
	} {
		for _, pieces := range []int{1, len(text)} {
			w := NewWatch()
			if err := writeInPieces(w, text, pieces); err != nil {
				t.Fatal(err)
			}
			got := ""
			select {
			case <-w.Login():
				got = "login"
			default:
			}
			select {
			case err := <-w.Trouble():
				got = err.Error()
			default:
			}
			if got != want {
				t.Errorf("%q in pieces of %d: got %q, want %q", text, pieces, got, want)
			}
		}
	}
	for _, trouble := range troubles {
		if len(trouble.text) > maxPhrase {
			t.Errorf("%q is longer than what is looked for", trouble.text)
		}
	}
}

// However the pieces are cut, the same comes out, and text without control sequences as it is.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("a\x1b[2Jb\x1b]0;t\x07\x1bc"), 1)
	f.Add(bytes.Repeat([]byte("\x1b["), 300), 7)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		size = max(1, min(size, len(data)))
		fuzztest.Bound{Base: 1 << 20, PerByte: 4096}.Check(t, len(data), func() {
			for _, writer := range []func(io.Writer) io.Writer{Plain, func(w io.Writer) io.Writer { return newScreen(w, func() int { return 1 }) }} {
				var whole, cut bytes.Buffer
				if err := errors.Join(writeInPieces(writer(&whole), string(data), max(1, len(data))), writeInPieces(writer(&cut), string(data), size)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(whole.Bytes(), cut.Bytes()) {
					t.Errorf("in pieces of %d: got %q, want %q", size, cut.Bytes(), whole.Bytes())
				}
			}
		})
	})
}
