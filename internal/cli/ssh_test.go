package cli

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/machine/suite"
	"github.com/mkosi-go/mkosi/internal/ui"
)

func TestSSHArguments(t *testing.T) {
	for name, tt := range map[string]struct {
		args     []string
		terminal bool // there is one
		line     string
		with     bool
	}{
		"a login":                        {nil, true, "", true},
		"a login without a terminal":     {nil, false, "", false},
		"a command":                      {[]string{"ls", "-l", "a b"}, true, "ls -l a b", false},
		"a command with one":             {[]string{"-t", "top"}, true, "top", true},
		"there is none to give":          {[]string{"-t", "top"}, false, "top", false},
		"a login that wants none":        {[]string{"-T"}, true, "", false},
		"a command that begins with one": {[]string{"-tt", "--", "-x"}, true, "-x", true},
	} {
		t.Run(name, func(t *testing.T) {
			line, with, err := sshArguments(tt.args, tt.terminal)
			if line != tt.line || with != tt.with || err != nil {
				t.Errorf("got %q, %v, %v", line, with, err)
			}
		})
	}
	var wrong *config.Error
	if _, _, err := sshArguments([]string{"-L", "80:localhost:80"}, true); !errors.As(err, &wrong) || !strings.Contains(wrong.Msg, "-L") {
		t.Errorf("got %v", err)
	}
}

func TestWriteResults(t *testing.T) {
	var out bytes.Buffer
	writeResults(&out, ui.Style{}, tested{State: "running", BootSeconds: 61.24, Tests: []suite.Result{
		{Name: "10-good", Passed: true, Seconds: 0.5}, {Name: "20-bad.service", Status: 3, Reason: "exit status 3", Seconds: 12}}})
	want := "" +
		"  passed  boot            61.2s  running\n" +
		"  passed  10-good         0.5s\n" +
		"  failed  20-bad.service  12.0s  exit status 3\n"
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
	out.Reset()
	writeResults(&out, ui.Style{}, tested{BootSeconds: 900, Error: "booting: too late"})
	if !strings.HasPrefix(out.String(), "  failed  boot  900.0s") {
		t.Errorf("got %q", out.String())
	}
}

// A port can be read before the machine is there, and ends with either side.
func TestPort(t *testing.T) {
	p := newPort()
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.serve(ours)
	}()
	go io.WriteString(theirs, "from the guest")
	got := make([]byte, 14)
	if _, err := io.ReadFull(p, got); err != nil || string(got) != "from the guest" {
		t.Errorf("got %q, %v", got, err)
	}
	go p.Write([]byte("to it"))
	if _, err := io.ReadFull(theirs, got[:5]); err != nil || string(got[:5]) != "to it" {
		t.Errorf("got %q, %v", got[:5], err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	other := newPort()
	ours, theirs = net.Pipe()
	theirs.Close()
	other.serve(ours)
	if _, err := other.Read(got); err != io.EOF {
		t.Errorf("got %v", err)
	}
	if err := newPort().Close(); err != nil {
		t.Error(err)
	}
}
