package kernel

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDevicetrees(t *testing.T) {
	const m, f, l = "usr/lib/modules/6/dtb/", "usr/lib/firmware/6/device-tree/", "usr/lib/linux-image-6/"
	root := plant(t,
		m+"vendor/b.dtb", m+"vendor/c.dtb", m+"vendor/deep/e.dtb", m+"vendor/o.dtbo", m+"vendor/README", m+"top.dtb", m+"imx.dtb",
		m+"link.dtb -> top.dtb", m+"nowhere.dtb -> gone", m+"dir.dtb/x",
		f+"vendor/b.dtb", f+"fw/f.dtb", l+"vendor/b.dtb", l+"imx.x.dtb",
		"usr/lib/modules/7/dtb/top.dtb",
	)
	for patterns, want := range map[string][]string{
		"top.dtb":             {m + "top.dtb"},
		"top":                 nil,
		"vendor/*":            {f + "vendor/b.dtb", l + "vendor/b.dtb", m + "vendor/b.dtb", m + "vendor/c.dtb", m + "vendor/deep/e.dtb"},
		"imx.*":               {l + "imx.x.dtb", m + "imx.dtb"},
		"f.dtb":               {f + "fw/f.dtb"},
		"*/f.dtb link.dtb":    {f + "fw/f.dtb", m + "link.dtb"},
		"vendor/*,-vendor/b*": {m + "vendor/c.dtb", m + "vendor/deep/e.dtb"},
		"nowhere.dtb dir.dtb": nil,
		"o.dtbo README x":     nil,
		"":                    nil,
	} {
		got, err := Devicetrees(t.Context(), root, Kernel{Version: "6"}, strings.FieldsFunc(patterns, func(r rune) bool { return r == ' ' || r == ',' }))
		must(t, err)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", patterns, diff)
		}
	}
	if _, err := Devicetrees(t.Context(), root, Kernel{Version: "6"}, []string{"re:("}); err == nil {
		t.Error("an unfinished expression was taken")
	}
}
