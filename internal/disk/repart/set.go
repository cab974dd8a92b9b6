package repart

import (
	"fmt"
	"slices"
)

// Check returns an error when definitions do not go together: when a partition
// of a verity set is missing or is there twice, and when SupplementFor= names
// no definition that can be supplemented. Definitions that are left out, see
// [Select], have to be left out before.
func Check(defs []Definition) error {
	for i := range defs {
		d := &defs[i]
		if err := checkSet(defs, d); err != nil {
			return &Problem{File: d.File, Msg: err.Error()}
		}
		if d.SupplementFor != "" {
			if err := checkSupplement(defs, d); err != nil {
				return &Problem{File: d.File, Msg: "SupplementFor=" + d.SupplementFor + ": " + err.Error()}
			}
		}
	}
	return nil
}

// checkSet looks at the other partitions of the verity set of d.
func checkSet(defs []Definition, d *Definition) error {
	if d.Verity == VerityOff {
		return nil
	}
	var data *Definition
	for _, role := range []VerityRole{VerityDataRole, VerityHashRole} {
		count := 0
		for i := range defs {
			if other := &defs[i]; other.Verity == role && other.VerityMatchKey == d.VerityMatchKey {
				count++
				if role == VerityDataRole {
					data = other
				}
			}
		}
		if count != 1 {
			return fmt.Errorf("setting VerityMatchKey=%s needs one partition with Verity=%s, there are %d", d.VerityMatchKey, role, count)
		}
	}
	switch {
	case d.Verity == VerityHashRole && d.Minimize != MinimizeOff && data.CopyBlocks == "" && data.Minimize == MinimizeOff:
		return fmt.Errorf("setting Minimize= for hashes needs Minimize= or CopyBlocks= in %s", data.File)
	case d.Verity == VerityHashRole && d.Minimize != MinimizeOff && data.Encrypt != EncryptOff:
		return fmt.Errorf("setting Minimize= for hashes of encrypted data is not possible (set SizeMaxBytes= in %s)", data.File)
	case d.Verity != VerityDataRole && d.CopyBlocks != "" && data.CopyBlocks == "":
		return fmt.Errorf("setting CopyBlocks= with Verity=%s needs CopyBlocks= in %s", d.Verity, data.File)
	}
	return nil
}

// checkSupplement looks at the definition that d supplements.
func checkSupplement(defs []Definition, d *Definition) error {
	i := slices.IndexFunc(defs, func(t Definition) bool { return t.Name() == d.SupplementFor && t.File != d.File })
	if i < 0 {
		return fmt.Errorf("there is no such definition (give the name of another one without .conf)")
	}
	target := &defs[i]
	for _, x := range []*Definition{d, target} {
		if x.CopyBlocks != "" || x.Encrypt != EncryptOff || x.Verity != VerityOff {
			return fmt.Errorf("%s has CopyBlocks=, Encrypt= or Verity=, and cannot be merged with another", x.File)
		}
	}
	if target.SupplementFor != "" {
		return fmt.Errorf("%s is a supplement itself", target.File)
	}
	for _, other := range defs {
		if other.SupplementFor == d.SupplementFor && other.File != d.File {
			return fmt.Errorf("%s is a supplement for it already", other.File)
		}
	}
	merged := Merge(target, d)
	if c := merged.checkSizes(); c != nil {
		return fmt.Errorf("merged with %s, %s=%s", target.File, c.setting, c.msg)
	}
	return nil
}

// Select returns the definitions whose type is among those of include, or, when
// include is empty, not among those of exclude. Types are named as in Type=,
// for the given architecture.
func Select(defs []Definition, include, exclude []string, architecture string) ([]Definition, error) {
	if len(include) > 0 && len(exclude) > 0 {
		return nil, fmt.Errorf("partitions can be included or excluded by their type, but not both")
	}
	chosen := map[string]bool{}
	for _, s := range slices.Concat(include, exclude) {
		t, err := ParsePartitionType(s, architecture)
		if err != nil {
			return nil, err
		}
		chosen[t.Name] = true
	}
	var selected []Definition
	for _, d := range defs {
		if chosen[d.Type.Name] == (len(include) > 0) {
			selected = append(selected, d)
		}
	}
	return selected, nil
}
