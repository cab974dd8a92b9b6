package disk

import (
	"errors"
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

// VerityPlan is how an image with a certain Verity= is built.
type VerityPlan struct {
	// Definitions and Defer are for Options.
	Definitions []repart.Definition
	Defer       []string
	// Sign says that Options needs Key and Certificate.
	Sign bool
}

// errNoVerityKey is in the error about a signature that nobody can make.
var errNoVerityKey = errors.New("needs a verity key and its certificate (VerityKey= and VerityCertificate=, or run mkosi genkey)")

// PlanVerity decides what becomes of the verity signature partitions among
// definitions. haveKey says whether a verity key and its certificate are there.
// VeritySigned makes them, and it is an error if there is none; VerityAuto makes
// those that there are; both need the key. VerityHash leaves them out and
// VerityDefer leaves them empty. With VerityDisabled they are an error, since
// nothing can be in them. Partitions with data and hashes are made with any
// mode.
func PlanVerity(defs []repart.Definition, mode VerityMode, haveKey bool) (*VerityPlan, error) {
	plan := &VerityPlan{}
	signature := ""
	for _, d := range defs {
		if d.Verity == repart.VeritySignatureRole {
			signature = d.File
			if mode == VerityHash {
				continue
			}
			if mode == VerityDefer {
				plan.Defer = append(plan.Defer, d.Type.Name)
			}
		}
		plan.Definitions = append(plan.Definitions, d)
	}
	switch mode {
	case VerityHash, VerityDefer:
	case VeritySigned, VerityAuto, "":
		if mode == VeritySigned && !haveKey {
			return nil, fmt.Errorf("a verity signature (Verity=signed) %w", errNoVerityKey)
		}
		if mode == VeritySigned && signature == "" {
			return nil, fmt.Errorf("setting Verity=signed needs a partition with Verity=signature, and the definitions have none")
		}
		if plan.Sign = signature != ""; plan.Sign && !haveKey {
			return nil, fmt.Errorf("%s: the signature of Verity=signature %w; Verity=hash leaves it out, Verity=defer leaves room for it", signature, errNoVerityKey)
		}
	case VerityDisabled:
		if signature != "" {
			return nil, fmt.Errorf("%s: there is nothing to put into a partition with Verity=signature while Verity=disabled: use Verity=hash, or remove it", signature)
		}
	default:
		return nil, fmt.Errorf("unknown verity mode %q", mode)
	}
	return plan, nil
}

// extensionFormats have built-in partitions with and without verity.
var extensionFormats = map[string]bool{"sysext": true, "confext": true, "portable": true}

// PlanExtension returns the built-in partitions of an extension image or
// portable service: format is "sysext", "confext" or "portable", architecture
// as for ParseDefinitions. haveKey says whether a verity key and its
// certificate are there, which decides what VerityAuto means: signed when they
// are, else with hashes but no signature. VeritySigned without them is an error.
func PlanExtension(format, architecture string, mode VerityMode, haveKey bool) (*VerityPlan, error) {
	if !extensionFormats[format] {
		return nil, fmt.Errorf("no built-in partitions for the format %q", format)
	}
	if (mode == VerityAuto || mode == "") && !haveKey {
		mode = VerityHash
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
	return PlanVerity(defs, mode, haveKey)
}
