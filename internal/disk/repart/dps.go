package repart

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/spelling"
)

// Role is what a partition of a certain type is for.
type Role string

// The roles that a verity set is made of, and the rest. The zero value is a
// partition without a known role.
const (
	RoleRoot     Role = "root"
	RoleUsr      Role = "usr"
	RoleESP      Role = "esp"
	RoleXBOOTLDR Role = "xbootldr"
	RoleSwap     Role = "swap"
	RoleHome     Role = "home"
	RoleSrv      Role = "srv"
	RoleVar      Role = "var"
	RoleTmp      Role = "tmp"
)

// verityPart tells the partitions of a verity set apart by their type.
type verityPart int

const (
	verityNone verityPart = iota
	verityTree
	veritySig
)

// PartitionType is a partition type of the Discoverable Partitions
// Specification (UAPI.2), or any other GPT type given as a UUID.
type PartitionType struct {
	// Name is the identifier of repart.d(5) with its architecture spelt out,
	// such as "root-x86-64-verity"; the UUID itself when it has no name.
	Name string
	// UUID is what stands in the partition table.
	UUID uuid.UUID
	// Role is what a partition of this type holds, for root and usr also when
	// it holds their hashes or signature.
	Role Role
	// Arch is the architecture that Name ends in or contains; empty for types
	// that are the same everywhere.
	Arch string

	part verityPart
}

// ParsePartitionType resolves Type= of repart.d(5): an identifier, with the
// aliases root and usr (and their verity and verity-sig) standing for those of
// the given architecture and root-secondary and usr-secondary for its 32 bit
// sibling, or a UUID. Architectures are named as in repart.d(5), such as x86-64
// and arm64, or as other systems name them, such as amd64 and aarch64.
func ParsePartitionType(s, architecture string) (PartitionType, error) {
	if id, ok := plainTypes[s]; ok {
		role := Role(s)
		if s == "linux-generic" || s == "user-home" {
			role = ""
		}
		return PartitionType{Name: s, UUID: uuid.MustParse(id), Role: role}, nil
	}
	for _, role := range []Role{RoleRoot, RoleUsr} {
		rest, ok := strings.CutPrefix(s, string(role))
		if !ok {
			continue
		}
		arch, part := splitArchitecture(rest)
		switch arch {
		case "":
			arch = architecture
		case "secondary":
			if arch, ok = secondary[architecture]; !ok {
				return PartitionType{}, fmt.Errorf("partition type %q: there is no 32 bit architecture beside %s", s, architecture)
			}
		}
		if alias, ok := architectureAliases[arch]; ok {
			arch = alias
		}
		types, known := typesByArch[arch]
		if !known {
			continue
		}
		return architectureType(role, arch, part, types), nil
	}
	if id, err := parseID(s); err == nil && id != uuid.Nil {
		return knownType(id), nil
	}
	return PartitionType{}, fmt.Errorf("unknown partition type %q%s", s, typeHint(s))
}

// typeHint says which type was likely meant.
func typeHint(s string) string {
	names := slices.Sorted(maps.Keys(plainTypes))
	for _, role := range []Role{RoleRoot, RoleUsr} {
		names = append(names, string(role), string(role)+"-verity", string(role)+"-verity-sig")
	}
	if near := spelling.Nearest(s, names); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return " (give a name of repart.d(5), such as root, or a UUID)"
}

// DefaultLabel is the name of a first partition of the type that is given none.
func (t PartitionType) DefaultLabel() string {
	if t.Name == t.UUID.String() {
		return "linux"
	}
	return t.Name
}

// splitArchitecture splits what follows "root" or "usr" in an identifier.
func splitArchitecture(rest string) (string, verityPart) {
	part := verityNone
	if r, ok := strings.CutSuffix(rest, "-verity"); ok {
		rest, part = r, verityTree
	} else if r, ok := strings.CutSuffix(rest, "-verity-sig"); ok {
		rest, part = r, veritySig
	}
	return strings.TrimPrefix(rest, "-"), part
}

func architectureType(role Role, arch string, part verityPart, types archTypes) PartitionType {
	ids := [2][3]string{
		{types.root, types.rootVerity, types.rootVeritySig},
		{types.usr, types.usrVerity, types.usrVeritySig},
	}
	row := 0
	if role == RoleUsr {
		row = 1
	}
	suffix := [3]string{"", "-verity", "-verity-sig"}[part]
	return PartitionType{
		Name: string(role) + "-" + arch + suffix,
		UUID: uuid.MustParse(ids[row][part]),
		Role: role,
		Arch: arch,
		part: part,
	}
}

// knownType returns the type that a UUID stands for, so that a type given by
// its UUID behaves like the same one given by its name.
func knownType(id uuid.UUID) PartitionType {
	for name, s := range plainTypes {
		if uuid.MustParse(s) == id {
			t, _ := ParsePartitionType(name, "")
			return t
		}
	}
	for arch, types := range typesByArch {
		for _, role := range []Role{RoleRoot, RoleUsr} {
			for _, part := range []verityPart{verityNone, verityTree, veritySig} {
				if t := architectureType(role, arch, part, types); t.UUID == id {
					return t
				}
			}
		}
	}
	return PartitionType{Name: id.String(), UUID: id}
}

// The partition attribute bits of UAPI.2.
const (
	flagGrowFileSystem = uint64(1) << 59
	flagReadOnly       = uint64(1) << 60
	flagNoAuto         = uint64(1) << 63
)

// knownFlags are the attribute bits that systemd-repart sets on the type.
func (t PartitionType) knownFlags() uint64 {
	switch {
	case t.Role == "", t.Role == RoleESP:
		return 0
	case t.Role == RoleSwap:
		return flagNoAuto
	case t.part == veritySig:
		return flagReadOnly
	case t.part != verityNone:
		return flagNoAuto | flagReadOnly
	}
	return flagNoAuto | flagReadOnly | flagGrowFileSystem
}

// MountPoint is where a file system on the type is mounted; empty when nothing
// says where.
func (t PartitionType) MountPoint() string {
	if t.part != verityNone {
		return ""
	}
	return map[Role]string{
		RoleRoot: "/",
		RoleUsr:  "/usr",
		RoleHome: "/home",
		RoleSrv:  "/srv",
		RoleVar:  "/var",
		RoleTmp:  "/var/tmp",
	}[t.Role]
}

// Architectures lists the architectures that have partition types, sorted.
func Architectures() []string {
	var names []string
	for name := range typesByArch {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// CoveredDirs are the folders of the root that a partition is mounted over.
func (t PartitionType) CoveredDirs() []string {
	switch dir := t.MountPoint(); {
	case t.Role == RoleESP:
		return []string{"/efi", "/boot"}
	case t.Role == RoleXBOOTLDR:
		return []string{"/boot"}
	case dir != "" && dir != "/":
		return []string{dir}
	}
	return nil
}

// HoldsSignature reports whether the type is that of a verity signature.
func (t PartitionType) HoldsSignature() bool { return t.part == veritySig }

// IsTree reports whether a partition of the type holds a file system rather
// than the hashes or the signature of one.
func (t PartitionType) IsTree() bool { return t.part == verityNone }
