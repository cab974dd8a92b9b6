package distro

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hostText is a machine's own configuration in both styles.
const hostText = `Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security/
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: https://vendor.example/node
Suites: nodistro
Components: main
Signed-By: /usr/share/keyrings/vendor.gpg
`

func parseHost(t *testing.T) []Source {
	t.Helper()
	s, err := ParseDeb822(hostText)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// brief is a source in a line, for comparison.
func brief(sources []Source) []string {
	var all []string
	for _, s := range sources {
		signed := s.SignedBy
		if s.Trusted {
			signed = "trusted"
		}
		all = append(all, strings.Join([]string{
			strings.Join(s.Types, "+"), strings.Join(s.URIs, "+"), strings.Join(s.Suites, "+"),
			strings.Join(s.Components, "+"), strings.TrimSuffix(filepath.Base(signed), "-archive-keyring.gpg"),
		}, " "))
	}
	return all
}

func TestSources(t *testing.T) {
	for _, test := range []struct {
		name   string
		distro string
		r      Request
		want   []string
	}{
		{"debian with the host's mirror", "debian", Request{Release: "trixie", Host: parseHost(t)}, []string{
			"deb http://mirror.example/debian trixie main debian",
			"deb http://mirror.example/debian trixie-updates main debian",
			"deb http://mirror.example/debian-security trixie-security main debian",
		}},
		{"debian unstable", "debian", Request{Release: "sid", Host: parseHost(t), Components: []string{"contrib"}}, []string{
			"deb http://mirror.example/debian sid main+contrib debian",
		}},
		{"debian with a mirror", "debian", Request{Release: "trixie", Mirror: "http://m.example/x/", Components: []string{"contrib", "non-free"}}, []string{
			"deb+deb-src http://m.example/x/debian trixie main+contrib+non-free debian",
			"deb+deb-src http://m.example/x/debian trixie-updates main+contrib+non-free debian",
			"deb+deb-src http://m.example/x/debian-security trixie-security main+contrib+non-free debian",
		}},
		{"debian with a mirror on a Debian host", "debian", Request{Release: "trixie", Mirror: "http://m.example/x", Host: parseHost(t)}, []string{
			"deb+deb-src http://m.example/x/debian trixie main debian",
			"deb+deb-src http://m.example/x/debian trixie-updates main debian",
			"deb+deb-src http://mirror.example/debian-security trixie-security main debian",
		}},
		{"local mirror", "debian", Request{Release: "trixie", LocalMirror: "http://m.example/x", Components: []string{"contrib"}}, []string{
			"deb http://m.example/x trixie main trusted",
		}},
		{"kali", "kali", Request{Release: "kali-rolling", Host: parseHost(t), Components: []string{"contrib"}}, []string{
			"deb+deb-src http://http.kali.org/kali kali-rolling main+contrib kali",
		}},
		{"kali with a mirror", "kali", Request{Release: "kali-last-snapshot", Mirror: "http://k.example/y"}, []string{
			"deb+deb-src http://k.example/y kali-last-snapshot main kali",
		}},
		{"ubuntu", "ubuntu", Request{Release: "noble", Architecture: "x86-64", Host: parseHost(t)}, []string{
			"deb+deb-src http://archive.ubuntu.com/ubuntu noble main ubuntu",
			"deb+deb-src http://archive.ubuntu.com/ubuntu noble-updates main ubuntu",
			"deb+deb-src http://security.ubuntu.com/ubuntu noble-security main ubuntu",
		}},
		{"ubuntu ports", "ubuntu", Request{Release: "noble", Architecture: "arm64"}, []string{
			"deb+deb-src http://ports.ubuntu.com noble main ubuntu",
			"deb+deb-src http://ports.ubuntu.com noble-updates main ubuntu",
			"deb+deb-src http://ports.ubuntu.com noble-security main ubuntu",
		}},
		{"ubuntu with a mirror", "ubuntu", Request{Release: "noble", Architecture: "arm64", Mirror: "http://u.example/y"}, []string{
			"deb+deb-src http://u.example/y noble main ubuntu",
			"deb+deb-src http://u.example/y noble-updates main ubuntu",
			"deb+deb-src http://ports.ubuntu.com noble-security main ubuntu",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := Lookup(test.distro)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Sources(&test.r)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, brief(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSourcesErrors(t *testing.T) {
	for want, r := range map[string]Request{
		"set Mirror=":               {Release: "trixie"},
		"snapshot is not supported": {Release: "trixie", Snapshot: "20250909T100000Z", Mirror: "http://m.example"},
		"no release":                {Mirror: "http://m.example"},
	} {
		if _, err := debian.Sources(&r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := Lookup("fedora"); err == nil || !strings.Contains(err.Error(), "debian, kali, ubuntu") {
		t.Errorf("unknown distribution: %v", err)
	}
	if _, err := debian.Architecture("tilegx"); err == nil {
		t.Error("Debian has packages for tilegx")
	}
}

func TestFormat(t *testing.T) {
	got := string(Format([]Source{
		{Types: []string{"deb", "deb-src"}, URIs: []string{"http://m.example/debian"}, Suites: []string{"trixie"},
			Components: []string{"main", "contrib"}, SignedBy: "/k.gpg"},
		{Types: []string{"deb"}, URIs: []string{"file:/repository"}, Suites: []string{"./"}, Trusted: true},
	}))
	want := `Types: deb deb-src
URIs: http://m.example/debian
Suites: trixie
Components: main contrib
Signed-By: /k.gpg

Types: deb
URIs: file:/repository
Suites: ./
Trusted: yes
`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	again, err := ParseDeb822(got)
	if err != nil || string(Format(again)) != got {
		t.Errorf("reading it again: %v, %q", err, Format(again))
	}
}

func TestHostSources(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"sources.list":             "# comment\ndeb [arch=amd64,i386 signed-by=/k.gpg] http://a.example/debian trixie main contrib # more\n",
		"sources.list.d/b.list":    "deb-src http://b.example/debian trixie main\n",
		"sources.list.d/c.sources": hostText,
		"sources.list.d/ignored":   "nonsense",
	} {
		p := filepath.Join(root, "etc/apt", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := HostSources(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"deb http://a.example/debian trixie main+contrib k.gpg",
		"deb-src http://b.example/debian trixie main .",
		"deb http://mirror.example/debian/ bookworm+bookworm-updates main debian",
		"deb http://mirror.example/debian-security/ bookworm-security main debian",
		"deb https://vendor.example/node nodistro main vendor.gpg",
	}
	if d := cmp.Diff(want, brief(got)); d != "" {
		t.Error(d)
	}
	if v := got[0].Options.Get("Architectures"); v != "amd64 i386" {
		t.Errorf("architectures %q", v)
	}
	if s, err := HostSources(t.TempDir()); err != nil || len(s) != 0 {
		t.Errorf("machine without apt: %v, %v", s, err)
	}
}

func TestParseOneLineErrors(t *testing.T) {
	for text, want := range map[string]string{
		"rpm http://a b":              "line 1: unknown type",
		"\ndeb [trusted=yes http://a": "line 2: options without a closing bracket",
		"deb http://a.example":        "no URI and suite",
		"deb [arch] http://a b":       "has no value",
	} {
		if _, err := ParseOneLine(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func FuzzParseSources(f *testing.F) {
	f.Add(hostText)
	f.Add("deb [arch=amd64 trusted=yes] http://a.example/debian trixie main\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) ([]Source, error){ParseDeb822, ParseOneLine} {
			sources, err := parse(text)
			if err != nil {
				continue
			}
			for _, s := range sources {
				if len(s.Types) == 0 || len(s.URIs) == 0 || len(s.Suites) == 0 {
					t.Fatalf("%q: incomplete %+v", text, s)
				}
			}
			_, _ = debian.Sources(&Request{Release: "trixie", Host: sources})
		}
	})
}
