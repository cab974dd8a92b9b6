// Package distro knows the distributions: what their releases and
// architectures are called, where their packages come from and which keys
// sign them. One file a distribution; nothing here touches an image.
package distro

import (
	"fmt"
	"sort"
	"strings"
)

// Distribution is one operating system's facts, the same on every machine.
// The values are read-only.
type Distribution struct {
	// Name is the identifier that Distribution= takes, and os-release's ID.
	Name string
	// PrettyName is for people: "Debian".
	PrettyName string
	// PackageManager is the driver that installs its packages: "apt".
	PackageManager string
	// DefaultRelease is what is built when Release= is not set on a host
	// that runs something else.
	DefaultRelease string
	// DefaultFilesystem is the root file system's type: "ext4".
	DefaultFilesystem string
	// Keyring is the path of the archive's OpenPGP keyring on a host that has
	// KeyringPackage installed.
	Keyring        string
	KeyringPackage string

	// architectures maps mkosi's architecture names to the distribution's.
	architectures map[string]string
	// sources lists the repositories of a release, for the canonical mirror
	// or the one in the request.
	sources func(d *Distribution, r *Request) ([]Source, error)
}

// distributions holds every distribution that can be built.
var distributions = map[string]*Distribution{
	debian.Name: &debian,
	kali.Name:   &kali,
	ubuntu.Name: &ubuntu,
}

// Lookup returns the distribution called name. The error for an unknown one
// lists those that can be built.
func Lookup(name string) (*Distribution, error) {
	if d, ok := distributions[name]; ok {
		return d, nil
	}
	return nil, fmt.Errorf("distribution %q cannot be built yet, only %s", name, strings.Join(Names(), ", "))
}

// Names lists the distributions that can be built, sorted.
func Names() []string {
	names := make([]string, 0, len(distributions))
	for name := range distributions {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Architecture translates mkosi's name of an architecture ("x86-64") to the
// distribution's ("amd64").
func (d *Distribution) Architecture(arch string) (string, error) {
	if a, ok := d.architectures[arch]; ok {
		return a, nil
	}
	return "", fmt.Errorf("%s has no packages for architecture %s", d.PrettyName, arch)
}

// debArchitectures are dpkg's names, shared by the distributions that use it.
var debArchitectures = map[string]string{
	"alpha":       "alpha",
	"arm":         "armhf",
	"arm64":       "arm64",
	"ia64":        "ia64",
	"loongarch64": "loong64",
	"mips64-le":   "mips64el",
	"mips-le":     "mipsel",
	"parisc":      "hppa",
	"ppc64":       "ppc64",
	"ppc64-le":    "ppc64el",
	"riscv64":     "riscv64",
	"s390":        "s390",
	"s390x":       "s390x",
	"x86":         "i386",
	"x86-64":      "amd64",
}
