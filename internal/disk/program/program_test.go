package program

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	script := func(text string) Command { return Command{Args: []string{"sh", "-c", text}} }
	c := script(`test "$A$HOME" = b`)
	c.Env = []string{"A=b"}
	if err := Run(t.Context(), c); err != nil {
		t.Error(err)
	}
	var out strings.Builder
	c = script("cat; echo noise >&2")
	c.Stdin, c.Stdout = strings.NewReader("text"), &out
	if err := Run(t.Context(), c); err != nil || out.String() != "text" {
		t.Errorf("output %q, %v", out.String(), err)
	}
	err := Run(t.Context(), script("seq 20; echo why >&2; exit 3"))
	if err == nil || !strings.Contains(err.Error(), "sh: exit status 3:\n12\n") || !strings.HasSuffix(err.Error(), "why") {
		t.Errorf("failing program: %v", err)
	}
	err = Run(t.Context(), Command{Args: []string{"no-such-program"}})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("missing program: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, Command{Args: []string{"sleep", "100"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestQueryVersion(t *testing.T) {
	answer := func(text string, err error) RunFunc {
		return func(_ context.Context, c Command) error {
			if strings.Join(c.Args, " ") != "mkfs.x -V" {
				t.Errorf("ran %q", c.Args)
			}
			io.WriteString(c.Stdout, text)
			return err
		}
	}
	failed := errors.New("exit status 1")
	for _, tt := range []struct {
		text string
		err  error
		want string
	}{
		{"mkfs.x, part of x-progs v6.2\n-EXPERIMENTAL\n", nil, "6.2"},
		{"mkfs.x 1.16.0 (2023-04-11)\n", nil, "1.16.0"},
		{"mkfs.x 1.5\n", failed, "1.5"},
		{"version 7.2.0-rc1", nil, "7.2.0"},
	} {
		v, err := QueryVersion(t.Context(), answer(tt.text, tt.err), "mkfs.x", "-V")
		if err != nil || v.String() != tt.want {
			t.Errorf("%q: %s, %v", tt.text, v, err)
		}
	}
	for _, text := range []string{"", "no number", strings.Repeat("x", 2*maxOutput) + " 1.2"} {
		if v, err := QueryVersion(t.Context(), answer(text, nil), "mkfs.x", "-V"); err == nil {
			t.Errorf("%.20q: version %s", text, v)
		}
	}
	if _, err := QueryVersion(t.Context(), answer("1.2", fs.ErrNotExist), "mkfs.x", "-V"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing program: %v", err)
	}
}

func TestVersionLess(t *testing.T) {
	for _, tt := range []struct {
		a, b Version
		want bool
	}{
		{Version{6, 2}, Version{6, 12}, true},
		{Version{6, 12}, Version{6, 12, 0}, false},
		{Version{6, 12}, Version{6, 12, 1}, true},
		{Version{7, 0}, Version{6, 12, 1}, false},
		{nil, Version{1}, true},
	} {
		if got := tt.a.Less(tt.b); got != tt.want {
			t.Errorf("%s is older than %s: %t", tt.a, tt.b, got)
		}
	}
}
