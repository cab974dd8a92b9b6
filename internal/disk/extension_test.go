package disk

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
)

func TestPlanExtension(t *testing.T) {
	types := func(defs []repart.Definition) (names []string) {
		for _, d := range defs {
			names = append(names, d.Type.Name)
		}
		return names
	}
	all := []string{"root-x86-64", "root-x86-64-verity", "root-x86-64-verity-sig"}
	for _, tt := range []struct {
		mode    VerityMode
		haveKey bool
		want    []string
		deferred,
		sign bool
	}{
		{VeritySigned, true, all, false, true},
		{VerityAuto, true, all, false, true},
		{"", true, all, false, true},
		{VerityAuto, false, all[:2], false, false},
		{VerityHash, true, all[:2], false, false},
		{VerityDefer, true, all, true, false},
		{VerityDisabled, true, all[:1], false, false},
	} {
		for _, format := range []string{"sysext", "confext"} {
			p, err := PlanExtension(format, "x86-64", tt.mode, tt.haveKey)
			if err != nil {
				t.Errorf("%s %q: %v", format, tt.mode, err)
				continue
			}
			if diff := cmp.Diff(tt.want, types(p.Definitions)); diff != "" || p.Sign != tt.sign || len(p.Defer) > 0 != tt.deferred {
				t.Errorf("%s %q: %+v", format, tt.mode, p)
			}
		}
	}
	for _, tt := range []struct {
		format, arch string
		mode         VerityMode
	}{
		{"sysext", "x86-64", VeritySigned}, {"portable", "x86-64", VerityHash}, {"sysext", "vax", VerityHash}, {"sysext", "x86-64", "yes"},
	} {
		if _, err := PlanExtension(tt.format, tt.arch, tt.mode, false); err == nil {
			t.Errorf("%v was accepted", tt)
		}
	}
}
