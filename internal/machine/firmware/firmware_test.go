package firmware

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/fuzztest"
)

// descriptor writes a descriptor with these features.
func descriptor(code string, features ...string) string {
	list := ""
	for i, f := range features {
		list += fmt.Sprintf("%.*s%q", min(i, 1), ",", f)
	}
	return fmt.Sprintf(`{"description": "d", "interface-types": ["uefi"], "mapping": {"device": "flash",
"executable": {"filename": "/usr/share/%s.fd", "format": "raw"}, "nvram-template": {"filename": "/usr/share/vars.fd", "format": "raw"}},
"targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}], "features": [%s]}`, code, list)
}

func TestParseRefuses(t *testing.T) {
	good := descriptor("code")
	for name, tt := range map[string]struct{ data, want string }{
		"no JSON":            {"{", "unexpected end"},
		"memory":             {strings.Replace(good, `"flash"`, `"memory"`, 1), `mapped as "memory"`},
		"a combined file":    {strings.Replace(good, `"device"`, `"mode": "combined", "device"`, 1), `the mode "combined"`},
		"a qcow2 file":       {strings.Replace(good, `"format": "raw"`, `"format": "qcow2"`, 1), "qcow2"},
		"a relative path":    {strings.Replace(good, `/usr/share/code.fd`, `code.fd`, 1), "absolute"},
		"qcow2 variables":    {strings.Replace(good, `vars.fd", "format": "raw"`, `vars.fd", "format": "qcow2"`, 1), "its variables"},
		"too large a thing":  {strings.Repeat(" ", maxDescriptor+1), "more than"},
		"a list for a value": {`{"description": []}`, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse("x.json", []byte(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFits(t *testing.T) {
	need := Need{Architecture: "x86_64", Machine: "pc-q35-10.0"}
	secure, enrolled, other, old := need, need, need, need
	secure.SecureBoot = true
	enrolled.SecureBoot, enrolled.Enrolled = true, true
	other.Architecture = "aarch64"
	old.Machine = "isapc"
	all := map[string]Need{"plain": need, "secure": secure, "enrolled": enrolled, "another architecture": other, "another machine": old}
	for features, want := range map[string]string{
		"":                          "plain",
		"secure-boot":               "secure",
		"secure-boot enrolled-keys": "enrolled",
	} {
		d, err := Parse("x.json", []byte(descriptor("code", strings.Fields(features)...)))
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range all {
			if got := d.Fits(n); got != (name == want) {
				t.Errorf("firmware with %q for %s: got %v", features, name, got)
			}
		}
	}
	stateless := strings.Replace(descriptor("code"), `"device"`, `"mode": "stateless", "device"`, 1)
	if d, err := Parse("x.json", []byte(stateless)); err != nil || d.Fits(need) {
		t.Errorf("firmware without variables fits, error %v", err)
	}
}

func TestFindMasks(t *testing.T) {
	root, user := t.TempDir(), t.TempDir()
	write := func(dir, name, data string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	usr, etc := filepath.Join(root, "usr/share/qemu/firmware"), filepath.Join(root, "etc/qemu/firmware")
	write(usr, "60-plain.json", descriptor("plain"))
	write(usr, "50-masked.json", descriptor("masked"))
	write(usr, "40-broken.json", descriptor("behind-broken"))
	write(usr, "30-replaced.json", descriptor("replaced"))
	write(usr, "README", "no descriptor")
	write(etc, "50-masked.json", "")
	write(etc, "40-broken.json", "{")
	write(etc, "30-replaced.json", descriptor("from-etc"))
	write(user, "30-replaced.json", descriptor("from-user"))
	write(root, "secret", descriptor("outside"))
	for name, link := range map[string]string{"70-link.json": "/usr/share/qemu/firmware/60-plain.json", "80-up.json": "/../../secret"} {
		if err := os.Symlink(link, filepath.Join(usr, name)); err != nil {
			t.Fatal(err)
		}
	}

	list, problems, err := Find(root, user)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, d.Name+" "+filepath.Base(d.Executable))
	}
	want := []string{"30-replaced.json from-user.fd", "60-plain.json plain.fd", "70-link.json plain.fd", "80-up.json outside.fd"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(problems) != 1 || problems[0].Path != "/etc/qemu/firmware/40-broken.json" {
		t.Errorf("problems: %v", problems)
	}
	if d := Choose(list, Need{Architecture: "x86_64", Machine: "pc-q35-"}); d == nil || d.Name != "30-replaced.json" {
		t.Errorf("chose %+v", d)
	}
}

func TestFindNothing(t *testing.T) {
	list, problems, err := Find(t.TempDir(), "/nonexistent")
	if err != nil || len(list) != 0 || len(problems) != 0 {
		t.Errorf("got %v, %v, %v", list, problems, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(descriptor("code", SecureBoot)))
	f.Add([]byte(`{"targets": [{"machines": ["[", "*"]}], "mapping": {"device": "flash"}}`))
	f.Add([]byte(strings.Repeat("[", 20000)))
	bound := fuzztest.Bound{Base: 1 << 20, PerByte: 200}
	f.Fuzz(func(t *testing.T, data []byte) {
		bound.Check(t, len(data), func() {
			d, err := Parse("x.json", data)
			if err != nil {
				return
			}
			d.Fits(Need{Architecture: "x86_64", Machine: "pc-q35-"})
			if !filepath.IsAbs(d.Executable) {
				t.Errorf("the code is %q", d.Executable)
			}
		})
	})
}
