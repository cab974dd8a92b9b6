package disk

import (
	"fmt"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
	"github.com/mkosi-go/mkosi/resources"
)

// VerityMode is the value of mkosi's Verity= setting.
type VerityMode string

// The values of Verity=. The zero value means VerityAuto.
const (
	VerityAuto     VerityMode = "auto"
	VerityDisabled VerityMode = "disabled"
	VerityHash     VerityMode = "hash"
	VeritySigned   VerityMode = "signed"
	VerityDefer    VerityMode = "defer"
)

// ExtensionPlan is how an extension image with a certain Verity= is built.
type ExtensionPlan struct {
	// Definitions and Defer are for Options.
	Definitions []repart.Definition
	Defer       []string
	// Sign says that Options needs Key and Certificate.
	Sign bool
}

// PlanExtension returns the built-in partitions of an extension image: format
// is "sysext" or "confext", architecture as for ParseDefinitions. haveKey says
// whether a verity key and its certificate are there, which decides what
// VerityAuto means: signed when they are, else with hashes but no signature.
// VeritySigned without them is an error.
func PlanExtension(format, architecture string, mode VerityMode, haveKey bool) (*ExtensionPlan, error) {
	if format != "sysext" && format != "confext" {
		return nil, fmt.Errorf("no built-in partitions for the format %q", format)
	}
	switch mode {
	case "", VerityAuto:
		mode = VerityHash
		if haveKey {
			mode = VeritySigned
		}
	case VeritySigned:
		if !haveKey {
			return nil, fmt.Errorf("a verity signature (Verity=signed) needs a verity key and its certificate (VerityKey= and VerityCertificate=, or run mkosi genkey)")
		}
	case VerityDisabled, VerityHash, VerityDefer:
	default:
		return nil, fmt.Errorf("unknown verity mode %q", mode)
	}

	name := format
	if mode == VerityDisabled {
		name += "-unsigned"
	}
	fsys, err := resources.Repart(name)
	if err != nil {
		return nil, err
	}
	defs, err := repart.ParseDefinitions(fsys, architecture)
	if err != nil {
		return nil, fmt.Errorf("built-in partitions of %s: %w", name, err)
	}

	plan := &ExtensionPlan{Sign: mode == VeritySigned}
	for _, d := range defs {
		if d.Verity == repart.VeritySignatureRole {
			if mode == VerityHash {
				continue
			}
			if mode == VerityDefer {
				plan.Defer = append(plan.Defer, d.Type.Name)
			}
		}
		plan.Definitions = append(plan.Definitions, d)
	}
	return plan, nil
}
