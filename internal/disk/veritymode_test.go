package disk

import (
	"testing"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/resources"
)

// builtin plans the built-in partitions of a system extension, with a key.
func builtin(t *testing.T, mode VerityMode) *VerityPlan {
	t.Helper()
	name := "sysext"
	if mode == VerityDisabled {
		name = "sysext-unsigned"
	}
	fsys, err := resources.Repart(name)
	if err != nil {
		t.Fatal(err)
	}
	defs, err := repart.ParseDefinitions(fsys, "x86-64")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := PlanVerity(defs, mode, true)
	if err != nil {
		t.Fatal(err)
	}
	return plan
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
