package build

import "testing"

func TestVconsole(t *testing.T) {
	root, _ := newTree(t, map[string]string{
		keymapModels: "# keymap layout model variant options\nde de pc105 - terminate\nsr-latin rs pc105 latin terminate\nshort line\n",
	})
	for keymap, want := range map[string]string{
		"de":       "KEYMAP=de\nXKBLAYOUT=de\nXKBMODEL=pc105\nXKBOPTIONS=terminate\n",
		"sr-latin": "KEYMAP=sr-latin\nXKBLAYOUT=rs\nXKBMODEL=pc105\nXKBVARIANT=latin\nXKBOPTIONS=terminate\n",
		"short":    "KEYMAP=short\n",
		"fr-bepo":  "KEYMAP=fr-bepo\n",
	} {
		if got, err := vconsole(root, keymap); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", keymap, got, err, want)
		}
	}
}

func TestRemoveKnown(t *testing.T) {
	_, base := newTree(t, map[string]string{"usr/lib/x": "base", "etc/conf": "base"})
	upper, dir := newTree(t, map[string]string{"usr/lib/x": "changed", "usr/lib/y": "new"})
	if err := removeKnown(t.Context(), dir, []string{base}); err != nil {
		t.Fatal(err)
	}
	if exists(upper, "usr/lib/x") || !exists(upper, "usr/lib/y") {
		t.Error("not exactly the new file is left")
	}
}
