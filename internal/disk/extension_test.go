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
		for _, format := range []string{"sysext", "confext", "portable"} {
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
		{"sysext", "x86-64", VeritySigned}, {"disk", "x86-64", VerityHash}, {"sysext", "vax", VerityHash}, {"sysext", "x86-64", "yes"},
	} {
		if _, err := PlanExtension(tt.format, tt.arch, tt.mode, false); err == nil {
			t.Errorf("%v was accepted", tt)
		}
	}
}

// A signature is made, left out or left empty as Verity= says, whoever defined its partition.
func TestPlanVerity(t *testing.T) {
	data, hash, signature := repart.Definition{File: "1"}, repart.Definition{File: "2"}, repart.Definition{File: "3"}
	data.Verity, hash.Verity, signature.Verity = repart.VerityDataRole, repart.VerityHashRole, repart.VeritySignatureRole
	signature.Type.Name = "usr-x86-64-verity-sig"
	all, unsigned := []repart.Definition{data, hash, signature}, []repart.Definition{data, hash}
	for _, tt := range []struct {
		defs    []repart.Definition
		mode    VerityMode
		haveKey bool
		count   int // 0 for an error
		deferred,
		sign bool
	}{
		{all, VerityAuto, true, 3, false, true},
		{all, VerityAuto, false, 0, false, false},
		{unsigned, VerityAuto, false, 2, false, false},
		{all, VeritySigned, true, 3, false, true},
		{all, VeritySigned, false, 0, false, false},
		{unsigned, VeritySigned, true, 0, false, false},
		{all, VerityHash, false, 2, false, false},
		{nil, VerityHash, false, 0, false, false},
		{all, VerityDefer, false, 3, true, false},
		{all, VerityDisabled, true, 0, false, false},
		{unsigned, VerityDisabled, true, 2, false, false},
		{unsigned, "yes", true, 0, false, false},
	} {
		plan, err := PlanVerity(tt.defs, tt.mode, tt.haveKey)
		if len(tt.defs) > 0 && (err == nil) != (tt.count > 0) {
			t.Errorf("%d partitions, %s, key %t: %v", len(tt.defs), tt.mode, tt.haveKey, err)
		}
		if err == nil && (len(plan.Definitions) != tt.count || plan.Sign != tt.sign || (len(plan.Defer) > 0) != tt.deferred) {
			t.Errorf("%d partitions, %s, key %t: %+v", len(tt.defs), tt.mode, tt.haveKey, plan)
		}
	}
}
