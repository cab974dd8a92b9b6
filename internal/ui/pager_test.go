package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns a pseudo terminal: what is written to the terminal can be read from the master.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}

// script writes an executable shell script that stands for a pager.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pager")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// environment looks variables up in words of the form NAME=VALUE.
func environment(words ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, w := range words {
			if value, ok := strings.CutPrefix(w, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

func say(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// onTerminal pages on a pseudo terminal and returns the first line that appears on it.
func onTerminal(t *testing.T, o PageOptions, write func(io.Writer) error) (line string, err error) {
	t.Helper()
	master, terminal := openTerminal(t)
	o.Stdout = terminal
	err = Page(t.Context(), o, write)
	fmt.Fprintln(terminal, "(nothing)")
	buf := make([]byte, 4096)
	n, readErr := master.Read(buf)
	if readErr != nil {
		t.Fatal(readErr)
	}
	line, _, _ = strings.Cut(string(buf[:n]), "\r\n")
	return line, err
}

func TestPagerGetsTheText(t *testing.T) {
	pager := script(t, `echo "pager $1 $LESS $LESSCHARSET $LESSSECURE: $(cat)"`)
	for _, tt := range []struct {
		rule string
		o    PageOptions
		want string
	}{
		{"words of the variable are arguments", PageOptions{Env: environment("TERM=x", "PAGER="+pager+" -a")}, "pager -a FRXMK utf-8 : text"},
		{"the flags of less are systemd's", PageOptions{Env: environment("TERM=x", "PAGER="+pager, "SYSTEMD_LESS=F", "SYSTEMD_LESSCHARSET=c")}, "pager  F c : text"},
		{"the more special variable wins", PageOptions{Env: environment("TERM=x", "PAGER=", "SYSTEMD_PAGER=cat", "MKOSI_PAGER="+pager)}, "pager  FRXMK utf-8 : text"},
		{"none if empty", PageOptions{Env: environment("TERM=x", "PAGER="+pager, "SYSTEMD_PAGER=")}, "text"},
		{"none if cat", PageOptions{Env: environment("TERM=x", "PAGER=cat")}, "text"},
		{"none if disabled", PageOptions{Disabled: true, Env: environment("TERM=x", "PAGER="+pager)}, "text"},
		{"none on a dumb terminal", PageOptions{Env: environment("TERM=dumb", "PAGER="+pager)}, "text"},
	} {
		if got, err := onTerminal(t, tt.o, say("text\n")); err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.rule, got, err, tt.want)
		}
	}
}

func TestNoPagerWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	o := PageOptions{Stdout: &out, Env: environment("TERM=x", "PAGER="+script(t, "echo pager"))}
	if err := Page(t.Context(), o, say("text\n")); err != nil || out.String() != "text\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestNextPagerIfItCannotBeStarted(t *testing.T) {
	dir := filepath.Dir(script(t, ""))
	if err := os.Rename(script(t, `echo "more: $(cat)"`), filepath.Join(dir, "more")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/nowhere")
	if err := os.Rename(script(t, `echo "less: $(cat)"`), filepath.Join(dir, "less")); err != nil {
		t.Fatal(err)
	}
	o := PageOptions{Env: environment("TERM=x", "PAGER=no-such-pager")}
	if got, err := onTerminal(t, o, say("text\n")); err != nil || got != "less: text" {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("PATH", "/nowhere")
	if got, err := onTerminal(t, o, say("text\n")); err != nil || got != "text" {
		t.Errorf("with no pager at all: got %q, %v", got, err)
	}
}

func TestPagerMayEndEarly(t *testing.T) {
	o := PageOptions{Env: environment("TERM=x", "PAGER="+script(t, "echo enough; exit 3"))}
	write := func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return fmt.Errorf("writing: %w", err)
			}
		}
	}
	if got, err := onTerminal(t, o, write); err != nil || got != "enough" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPageReturnsTheWritersErrorAndShowsWhatItWrote(t *testing.T) {
	failure := errors.New("broken")
	o := PageOptions{Env: environment("TERM=x", "PAGER="+script(t, "cat"))}
	got, err := onTerminal(t, o, func(w io.Writer) error { fmt.Fprintln(w, "half"); return failure })
	if got != "half" || !errors.Is(err, failure) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPageEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	err := Page(ctx, PageOptions{Stdout: io.Discard}, func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return err
			}
			cancel(cause)
		}
	})
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestPagerOfAnotherUsersRightsIsSecure(t *testing.T) {
	for _, tt := range []struct {
		rule string
		env  []string
		want [][]string
	}{
		{"sudo", []string{"SUDO_UID=4242", "PAGER=mine"}, [][]string{{"less"}}},
		{"sudo to oneself", []string{fmt.Sprintf("SUDO_UID=%d", os.Geteuid()), "PAGER=mine"}, [][]string{{"mine"}, {"less"}, {"more"}}},
		{"told not to", []string{"SUDO_UID=4242", "PAGER=mine", "SYSTEMD_PAGERSECURE=no"}, [][]string{{"mine"}, {"less"}, {"more"}}},
		{"told to", []string{"PAGER=mine", "SYSTEMD_PAGERSECURE=1"}, [][]string{{"less"}}},
	} {
		env := environment(tt.env...)
		if got := pagers(env); !slices.EqualFunc(got, tt.want, slices.Equal) {
			t.Errorf("%s: got %v, want %v", tt.rule, got, tt.want)
		}
		if got := slices.Contains(pagerEnvironment(env), "LESSSECURE=1"); got != (len(tt.want) == 1) {
			t.Errorf("%s: LESSSECURE is set: %v", tt.rule, got)
		}
	}
}
