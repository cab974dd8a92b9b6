package repart

import (
	"fmt"
	"slices"
	"strings"
)

// overrideVariable is the environment variable that names the file system of
// all partitions with Format=. With an underscore and a role behind it, in
// capitals, it is about partitions of that role with or without Format=.
const overrideVariable = "SYSTEMD_REPART_OVERRIDE_FSTYPE"

// OverrideFormats returns the definitions with the file systems that
// environment variables ask for, see systemd-repart(8). Where a role is asked
// for by its variable, that one counts. Partitions that hold something else
// than a file system stay as they are.
func OverrideFormats(defs []Definition, getenv func(name string) string) ([]Definition, error) {
	defs = slices.Clone(defs)
	for i := range defs {
		d := &defs[i]
		if d.CopyBlocks != "" || d.Verity == VerityHashRole || d.Verity == VeritySignatureRole {
			continue
		}
		name, format := overrideVariable, ""
		if d.Format != "" && !d.FormatImplied {
			format = getenv(name)
		}
		if role := d.Type.Role; role != "" && role != RoleSwap && d.Type.IsTree() {
			named := overrideVariable + "_" + strings.ToUpper(string(role))
			if f := getenv(named); f != "" {
				name, format = named, f
			}
		}
		if format == "" {
			continue
		}
		if _, err := parseFormat(format); err != nil || format == FormatEmpty {
			return nil, fmt.Errorf("environment variable %s: no file system %q can be made", name, format)
		}
		if d.Format == FormatEmpty && name != overrideVariable {
			d.keepEmpty()
		}
		d.setFormat(format)
		if c := d.checkContent(); c != nil {
			return nil, fmt.Errorf("environment variable %s=%s: %s: %s=: %s", name, format, d.File, c.setting, c.msg)
		}
	}
	return defs, nil
}

// keepEmpty sets what Format=empty stands for, so that it stays when the
// partition gets a file system.
func (d *Definition) keepEmpty() {
	if d.Label == "" && !d.NoLabel {
		d.Label = EmptyLabel
	}
	if d.NoAuto == nil {
		on := true
		d.NoAuto = &on
	}
}

// setFormat changes the file system and what cannot stay with it.
func (d *Definition) setFormat(format string) {
	d.Format, d.FormatImplied = format, false
	if d.Minimize == MinimizeBest && !bestFormats[format] {
		d.Minimize = MinimizeGuess
	}
}
