package cache

import (
	"strings"
	"testing"
)

func inputs(add func(in *Inputs)) (in Inputs) {
	in.AddText("Release=", "trixie")
	in.AddList("Packages=", []string{"systemd", "udev"})
	in.AddSecret("Environment=TOKEN", "hunter2")
	add(&in)
	return in
}

func TestFirstDifference(t *testing.T) {
	none := func(*Inputs) {}
	dir := func(files ...string) func(*Inputs) {
		return func(in *Inputs) {
			in.AddFiles("SkeletonTrees=mkosi.skeleton", &Fingerprint{Digest: strings.Join(files, "\n"), Files: files})
		}
	}
	for name, c := range map[string]struct {
		before, now Inputs
		want        string
	}{
		"the same": {inputs(none), inputs(none), ""},
		"text":     {inputs(none), inputs(func(in *Inputs) { (*in)[0].Text = "forky" }), "Release= was trixie, is now forky"},
		"emptied":  {inputs(none), inputs(func(in *Inputs) { (*in)[0].Text = "" }), `Release= was trixie, is now ""`},
		"gained":   {inputs(none), inputs(func(in *Inputs) { (*in)[1].List = []string{"systemd", "vim", "udev"} }), "Packages= gained vim"},
		"twice":    {inputs(none), inputs(func(in *Inputs) { (*in)[1].List = []string{"systemd", "udev", "udev"} }), "Packages= gained udev"},
		"lost":     {inputs(none), inputs(func(in *Inputs) { (*in)[1].List = []string{"systemd"} }), "Packages= lost udev"},
		"both":     {inputs(none), inputs(func(in *Inputs) { (*in)[1].List = []string{"vim", "a b"} }), `Packages= gained vim, "a b" and lost systemd, udev`},
		"many":     {inputs(none), inputs(func(in *Inputs) { (*in)[1].List = strings.Fields("systemd udev a b c d e") }), "Packages= gained a, b, c and 2 more"},
		"order":    {inputs(none), inputs(func(in *Inputs) { (*in)[1].List = []string{"udev", "systemd"} }), "Packages= has another order"},
		"secret":   {inputs(none), inputs(func(in *Inputs) { in.AddSecret("Environment=TOKEN", "new") }), "Environment=TOKEN changed"},
		"new":      {inputs(none), inputs(func(in *Inputs) { in.AddText("Mirror=", "") }), "Mirror= is new"},
		"gone":     {inputs(func(in *Inputs) { in.AddText("Mirror=", "") }), inputs(none), "Mirror= is gone"},
		"file":     {inputs(dir("1 .", "2 etc/foo")), inputs(dir("1 .", "3 etc/foo")), "SkeletonTrees=mkosi.skeleton changed: etc/foo differs"},
		"new file": {inputs(dir("1 .")), inputs(dir("1 .", "3 a b")), `SkeletonTrees=mkosi.skeleton changed: "a b" is new`},
		"no file":  {inputs(dir("1 .", "2 etc/foo")), inputs(dir("1 .")), "SkeletonTrees=mkosi.skeleton changed: etc/foo is gone"},
		"no files": {inputs(dir("1 .", "2 etc/foo")), inputs(dir()), "SkeletonTrees=mkosi.skeleton changed"},
	} {
		if got := FirstDifference(c.before, c.now); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if same := c.before.Key() == c.now.Key(); same != (c.want == "") {
			t.Errorf("%s: the keys being the same is %v", name, same)
		}
	}
}

// TestKey tells that no two different inputs have one key, however they are put together.
func TestKey(t *testing.T) {
	seen := map[string]string{}
	for name, in := range map[string]Inputs{
		"nothing":      {},
		"a name":       {{Name: "a"}},
		"text":         {{Name: "a", Text: "b"}},
		"joined":       {{Name: "ab"}},
		"list":         {{Name: "a", List: []string{"b"}}},
		"list of two":  {{Name: "a", List: []string{"b", "c"}}},
		"words joined": {{Name: "a", List: []string{"bc"}}},
		"empty word":   {{Name: "a", List: []string{""}}},
		"digest":       {{Name: "a", Digest: "b"}},
		"two":          {{Name: "a"}, {Name: "b"}},
		"two swapped":  {{Name: "b"}, {Name: "a"}},
	} {
		key := in.Key()
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have one key", name, other)
		}
		seen[key] = name
	}
}

// TestSecrets tells that neither a secret nor a long text is kept.
func TestSecrets(t *testing.T) {
	var in Inputs
	in.AddSecret("Environment=TOKEN", "hunter2")
	in.AddText("KernelCommandLine=", strings.Repeat("x", 1000))
	for _, i := range in {
		if i.Text != "" || len(i.Digest) != 64 {
			t.Errorf("kept %+v", i)
		}
	}
}
