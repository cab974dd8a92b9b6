package config

import "testing"

func TestExpandHome(t *testing.T) {
	c := &place{dir: "/d", home: "/home/me", env: map[string]string{"A": "x", "T": "~", "LOOP": "$LOOP"},
		homeOf: func(user string) string { return map[string]string{"root": "/root"}[user] }}
	for text, want := range map[string]string{
		"":            "/d",
		"a//./b/":     "/d/a/b",
		"a/../b":      "/d/a/../b",
		"~":           "/home/me",
		"~/x":         "/home/me/x",
		"~root":       "/root",
		"~root/x":     "/root/x",
		"~nobody/x":   "/d/~nobody/x",
		"$A/${A}$A":   "/d/x/xx",
		"$AB$":        "/d/$AB$",
		"${A":         "/d/${A",
		"${NOPE}/$A":  "/d/${NOPE}/x",
		"$T/y":        "/home/me/y",
		"$LOOP/$A":    "/d/$LOOP/x",
		"/a/~/$A":     "/a/~/x",
		"builtin:x/.": "builtin:x",
	} {
		if got := expandPath(c, text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestTildeWithoutHome(t *testing.T) {
	for _, c := range []*place{{dir: "/d"}, {dir: "/d", home: "/home/me"}} {
		if err := checkHome(c, "~nobody/x"); err == nil {
			t.Error("an unknown user is no error")
		}
	}
	if err := checkHome(&place{dir: "/d"}, "~/x"); err == nil {
		t.Error("no home directory is no error")
	}
	if err := checkHome(&place{dir: "/d", home: "/home/me"}, "~/x"); err != nil {
		t.Error(err)
	}
}
