package program

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// told is what the steps of a command line are, in the order in which they are taken.
func told(o *Options) []string {
	var list []string
	for _, s := range o.steps {
		if s.foreign {
			list = append(list, "foreign "+s.source+" to "+s.target)
		}
		for _, op := range s.ops {
			list = append(list, op.String())
		}
	}
	return list
}

func TestParseSteps(t *testing.T) {
	tests := []struct{ line, want string }{
		{"--bind /a /b", "bind /a to /b"},
		{"--bind a b", "bind /cwd/a to /cwd/b"},
		{"--bind /a/../b/ //c", "bind /b to /c"},
		{"--bind-try /a /b", "bind /a to /b, if it exists"},
		{"--ro-bind /a /b", "bind /a to /b, read-only"},
		{"--ro-bind-try +/a /b", "bind /a to /b, read-only, if it exists, from inside"},
		{"--bind-nofollow /a /b", "bind /a to /b, not following links"},
		{"--ro-bind-nofollow +/a /b", "bind /a to /b, read-only, not following links, from inside"},
		{"--bind-foreign /a /b", "foreign /a to /b"},
		{"--tmpfs /t --dir /d --symlink x /s --write x /w", "directory /d|symbolic link /s to x|tmpfs at /t|file /w"},
		{"--overlay-lowerdir /1 --overlay-lowerdir /2 --overlay /o", "overlay of /2, /1 at /o"},
		{"--overlay-lowerdir /1 --overlay /o", "bind /1 to /o, read-only"},
		{"--overlay-lowerdir /1 --overlay-upperdir /u --overlay-workdir w --overlay /o", "overlay of /1 at /o with changes in /u"},
		{"--overlay-lowerdir /1 --overlay-upperdir tmpfs --overlay /o", "overlay of /1 at /o with changes in memory"},
		// Each overlay has its own layers.
		{"--overlay-lowerdir /1 --overlay /o --overlay-lowerdir /2 --overlay /p", "bind /1 to /o, read-only|bind /2 to /p, read-only"},
		// Directories come before what is in them; a name is compared as a whole.
		{"--dir /t/y-z --dir /t/y/z --dir /t/y --bind / /", "bind / to /|directory /t/y|directory /t/y/z|directory /t/y-z"},
		// Bind mounts cover what is at the same path; the order counts otherwise.
		{"--bind /b /x --tmpfs /x --dir /x", "tmpfs at /x|directory /x|bind /b to /x"},
		{"--bind /b /x --bind /a /x", "bind /b to /x|bind /a to /x"},
		// What depends on the others comes last.
		{"--bind +/y /a --tmpfs /y --tmpfs /a", "tmpfs at /a|tmpfs at /y|bind /y to /a, from inside"},
	}
	for _, tt := range tests {
		o, err := Parse(append(strings.Fields(tt.line), "cmd"), "/cwd")
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		if got := strings.Join(told(o), "|"); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.line, got, tt.want)
		}
	}
}

func TestParseCommand(t *testing.T) {
	tests := []struct {
		line string
		want []string
	}{
		{"", []string{"bash"}},
		{"--debug", []string{"bash"}},
		{"--debug -- --version", []string{"--version"}},
		{"id --help -x", []string{"id", "--help", "-x"}},
	}
	for _, tt := range tests {
		o, err := Parse(strings.Fields(tt.line), "/")
		if err != nil || !slices.Equal(o.Args, tt.want) || o.Help || o.Version {
			t.Errorf("%q: got %+v, %v, want the command %q", tt.line, o, err, tt.want)
		}
	}
}

func TestParseEnvironment(t *testing.T) {
	o, err := Parse(strings.Fields("--unsetenv B --setenv A 1 --setenv A 2=3 --setenv B x --unsetenv HOME"), "/")
	if err != nil {
		t.Fatal(err)
	}
	got := o.environment([]string{"HOME=/", "A=0", "C=c"})
	if want := []string{"C=c", "A=2=3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListen(t *testing.T) {
	env := []string{"LISTEN_FDS=9", "LISTEN_PID=1", "A=b"}
	if got := listen(slices.Clone(env), 0); !slices.Equal(got, []string{"A=b"}) {
		t.Errorf("without files: %q", got)
	}
	if got := listen(slices.Clone(env), 2); len(got) != 3 || got[1] != "LISTEN_FDS=2" {
		t.Errorf("with files: %q", got)
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ line, want, hint string }{
		{"--nosuch", "unknown option --nosuch", "behind --"},
		{"-x", "unknown option -x", "behind --"},
		{"--bind=/a /b", "unknown option --bind=/a", "--bind SRC DST"},
		{"--bind /a", "--bind wants SRC and DST", ""},
		{"--tmpfs", "--tmpfs wants DST", ""},
		{"--map-delegate x", "\"x\" is not a number", ""},
		{"--map-delegate -1", "\"-1\" is not a number", ""},
		{"--map-delegate 17", "\"17\" is not a number", ""},
		{"--map-delegate 16 --bind-foreign /a /b", "16 ranges are too many", ""},
		{"--setenv A=B c", "cannot be the name", ""},
		{"--overlay /o", "has no layers", "--overlay-lowerdir"},
		{"--overlay-lowerdir /1 --overlay-upperdir /u --overlay /o", "no working directory", "--overlay-workdir"},
	}
	for _, tt := range tests {
		_, err := Parse(strings.Fields(tt.line), "/")
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(usage.Error(), tt.want) || !strings.Contains(usage.Hint(), tt.hint) {
			t.Errorf("%s: got %v, want %q and the hint %q", tt.line, err, tt.want, tt.hint)
		}
	}
	if _, err := Parse([]string{""}, "/"); err == nil {
		t.Error("no error for an empty command")
	}
}

// TestHelp holds the help against the options: each is there, and each takes what it says.
func TestHelp(t *testing.T) {
	for _, o := range options() {
		if !strings.Contains(Help(), "  "+o.name+" ") {
			t.Errorf("the help lacks %s", o.name)
		}
		words := []string{"/1", "/2"}[:len(o.arguments)]
		if o.name == "--map-delegate" {
			words = []string{"1"}
		}
		line := append([]string{o.name}, words...)
		if o.name == "--overlay" {
			line = append([]string{"--overlay-lowerdir", "/l"}, line...)
		}
		if _, err := Parse(append(line, "cmd"), "/"); err != nil {
			t.Errorf("%s: %v", o.name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, o := range options() {
		f.Add(o.name + "\n" + strings.Join(o.arguments, "\n"))
	}
	f.Add("--bind\n+a\n../..\n--dev\n\n--\ncmd")
	f.Fuzz(func(t *testing.T, line string) {
		o, err := Parse(strings.Split(line, "\n"), "/cwd")
		if err != nil || o.Help || o.Version {
			return
		}
		if len(o.Args) == 0 || o.Args[0] == "" {
			t.Error("there is no command")
		}
		for _, s := range o.steps {
			if !strings.HasPrefix(s.target, "/") || strings.Contains(s.target+"/", "/../") {
				t.Errorf("the target %q is not a clean absolute path", s.target)
			}
		}
	})
}
