package disk

import (
	"errors"
	"fmt"

	"github.com/mkosi-go/mkosi/internal/disk/repart"
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
