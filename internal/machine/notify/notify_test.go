package notify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

func TestParse(t *testing.T) {
	for name, tt := range map[string]struct {
		message string
		want    []Assignment
	}{
		"lines":                     {"READY=1\nSTATUS=a=b \nEXIT_STATUS=3", []Assignment{{"READY", "1"}, {"STATUS", "a=b "}, {"EXIT_STATUS", "3"}}},
		"no assignments":            {"READY\n=1\n\n1A=2\nA B=c\n", nil},
		"an empty value":            {"STATUS=\n", []Assignment{{"STATUS", ""}}},
		"nothing":                   {"", nil},
		"a key with digits":         {"X_2=y", []Assignment{{"X_2", "y"}}},
		"carriage returns are text": {"READY=1\r\n", []Assignment{{"READY", "1\r"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(tt.message))
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for want, message := range map[string]string{
		"more than 65536 bytes":     strings.Repeat("x", MaxMessage+1),
		"more than 256 assignments": strings.Repeat("A=1\n", maxAssignments+1),
		"no text":                   "STATUS=\xff",
		"is no text":                "STATUS=a\x00b",
	} {
		if _, err := Parse([]byte(message)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", message, err, want)
		}
	}
}

func TestApplyRefusesStatus(t *testing.T) {
	for _, value := range []string{"", "-1", "256", "x", "1 "} {
		var s State
		if err := s.Apply(Assignment{KeyExitStatus, value}); err == nil || s.ExitStatus != nil {
			t.Errorf("%q was taken: %v", value, s.ExitStatus)
		}
	}
}

// guestSays is a listening socket and how a guest's systemd sends messages to it: a connection for each.
func guestSays(t *testing.T) (Listener, func(message string)) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return l, func(message string) {
		t.Helper()
		conn, err := net.Dial("unix", l.Addr().String())
		if err == nil {
			_, err = io.WriteString(conn, message)
			err = errors.Join(err, conn.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestServe(t *testing.T) {
	l, say := guestSays(t)
	var states []string
	r := &Receiver{Changed: func(s State) { states = append(states, s.Status) }}
	ctx, cancel := context.WithCancel(t.Context())
	for _, m := range []string{"STATUS=Booting\nX_SYSTEMD_HOSTNAME=debian", "STATUS=Up\nREADY=1", "READY=1\n", "X_SYSTEMD_SHUTDOWN=poweroff\nEXIT_STATUS=7"} {
		say(m)
	}
	// All of it came before the machine ended, and was not received yet.
	cancel()
	if err := r.Serve(ctx, l); err != nil {
		t.Fatal(err)
	}
	seven := 7
	want := State{Ready: true, Status: "Up", Hostname: "debian", Shutdown: "poweroff", ExitStatus: &seven}
	if diff := cmp.Diff(want, r.State()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Booting", "Up", "Up"}, states); diff != "" {
		t.Error("changes:", diff)
	}
}

func TestServeReportsTrouble(t *testing.T) {
	l, say := guestSays(t)
	var troubles []error
	r := &Receiver{Trouble: func(err error) { troubles = append(troubles, err) }}
	say("\xff")
	say("EXIT_STATUS=900\nREADY=1")
	say(strings.Repeat("a", 2*MaxMessage))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Serve(ctx, l); err != nil {
		t.Fatal(err)
	}
	if len(troubles) != 3 || !r.State().Ready {
		t.Errorf("%d troubles: %v; %+v", len(troubles), troubles, r.State())
	}
}

func TestServeFailsWithItsListener(t *testing.T) {
	l, _ := guestSays(t)
	l.Close()
	if err := new(Receiver).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestReadPort(t *testing.T) {
	var r Receiver
	if err := r.ReadPort(strings.NewReader("STATUS=degraded\nREADY=1\nEXIT_STATUS=0\n")); err != nil {
		t.Fatal(err)
	}
	if s := r.State(); !s.Ready || s.Status != "degraded" || s.ExitStatus == nil || *s.ExitStatus != 0 {
		t.Errorf("got %+v", s)
	}
	if err := r.ReadPort(io.MultiReader(strings.NewReader("READY"), strings.NewReader(strings.Repeat("x", 2*MaxMessage)))); err == nil {
		t.Error("a line without an end was read")
	}
}

// The unit must not hold up booting, nor run in the initrd, and what the credentials name must be there.
func TestGuestCredentials(t *testing.T) {
	c := GuestCredentials()
	unit := c["systemd.extra-unit.mkosi-notify.service"]
	for _, want := range []string{"ConditionPathExists=!/etc/initrd-release\n", "Type=exec\n", "LoadCredential=mkosi.notify\n"} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit lacks %q", want)
		}
	}
	if !strings.Contains(c["mkosi.notify"], " "+Port+" ") {
		t.Errorf("the script does not look for %s", Port)
	}
	if len(c) != 3 {
		t.Errorf("%d credentials", len(c))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=x\nEXIT_STATUS=255\n"))
	f.Add([]byte("=\n\xff\x00"))
	f.Add(bytes.Repeat([]byte("A=\n"), 300))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzztest.Bound{Base: 1 << 20, PerByte: 64}.Check(t, len(data), func() {
			r := &Receiver{Trouble: func(error) {}}
			r.receive(data)
			_ = r.ReadPort(bytes.NewReader(data))
			if s := r.State().ExitStatus; s != nil && (*s < 0 || *s > 255) {
				t.Errorf("exit status %d", *s)
			}
		})
	})
}
