package config

import (
	"crypto/rand"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// The computed defaults of the settings table. Each looks at what is known
// of the image so far.

// distributions is the kind of settings that name one.
var distributions = enum("", "", Fedora, Debian, Kali, Ubuntu, PostmarketOS, ArchLinux, OpenSUSE, Mageia, CentOS,
	RHEL, RHELUBI, OpenMandriva, Rocky, Alma, Azure, Custom)

// distributionFacts is what the configuration language itself knows of a
// distribution; how to install it is not its business.
type distributionFacts struct {
	release    string   // when nothing else is known
	filesystem string   // what %F stands for
	kernels    []string // patterns of the names of kernel packages
}

var distributionTable = map[Distribution]distributionFacts{
	Fedora:       {"rawhide", "btrfs", []string{"kernel", "kernel-core"}},
	Debian:       {"testing", "ext4", []string{"linux-image-*"}},
	Kali:         {"kali-rolling", "ext4", []string{"linux-image-*"}},
	Ubuntu:       {"devel", "ext4", []string{"linux-*"}},
	PostmarketOS: {"edge", "ext4", []string{"linux-*", "!linux-headers"}},
	ArchLinux:    {"rolling", "ext4", []string{"linux", "linux-lts", "linux-zen", "linux-hardened", "linux-rt", "linux-rt-lts"}},
	OpenSUSE:     {"tumbleweed", "btrfs", []string{"kernel-default", "kernel-kvmsmall"}},
	Mageia:       {"cauldron", "ext4", []string{"kernel", "kernel-core"}},
	CentOS:       {"10", "xfs", []string{"kernel", "kernel-core"}},
	RHEL:         {"10", "xfs", []string{"kernel", "kernel-core"}},
	RHELUBI:      {"10", "xfs", []string{"kernel", "kernel-core"}},
	OpenMandriva: {"cooker", "ext4", []string{"kernel", "kernel-core"}},
	Rocky:        {"10", "xfs", []string{"kernel", "kernel-core"}},
	Alma:         {"10", "xfs", []string{"kernel", "kernel-core"}},
	Azure:        {"3.0", "ext4", []string{"kernel", "kernel-core"}},
	Custom:       {"", "ext4", nil},
}

// isKernel reports whether a package of the distribution brings a kernel.
func (f distributionFacts) isKernel(pkg string) bool {
	found := false
	for _, pattern := range f.kernels {
		pattern, not := strings.CutPrefix(pattern, "!")
		if ok, _ := filepath.Match(pattern, pkg); ok {
			found = !not
		}
	}
	return found
}

// unlessEmptied is a default that an empty assignment takes away.
func unlessEmptied(name string, fallback func(r *resolver) any) func(r *resolver) any {
	return func(r *resolver) any {
		if _, assigned := r.assigned(Lookup(name)); assigned {
			return nil
		}
		return fallback(r)
	}
}

// hostDistribution maps os-release(5) to a distribution.
func hostDistribution(r *resolver) Distribution {
	for _, id := range append([]string{r.o.Host.Distribution}, r.o.Host.DistributionLike...) {
		d := Distribution(id)
		switch id {
		case "almalinux":
			d = Alma
		case "azurelinux":
			d = Azure
		case "opensuse-tumbleweed", "opensuse-leap", "suse":
			d = OpenSUSE
		}
		if _, ok := distributionTable[d]; ok {
			return d
		}
	}
	return Custom
}

func defaultDistribution(r *resolver) any { return hostDistribution(r) }

func defaultRelease(r *resolver) any {
	d := get[Distribution](r, "Distribution")
	if d != hostDistribution(r) {
		return distributionTable[d].release
	}
	release := r.o.Host.VersionID
	switch {
	case d == Debian || d == Kali || d == Ubuntu:
		release = r.o.Host.Codename
	case r.o.Host.Distribution == "opensuse-tumbleweed":
		release = ""
	}
	if release == "" {
		release = distributionTable[d].release
	}
	return release
}

func defaultArchitecture(r *resolver) any {
	if r.o.Host.Architecture == "" {
		return ArchX86_64
	}
	return Architecture(r.o.Host.Architecture)
}

// defaultKeyFetch is on where the keyrings of other distributions cannot be
// installed: when the tools are Ubuntu's and the packages are not apt's.
func defaultKeyFetch(r *resolver) any {
	switch get[Distribution](r, "Distribution") {
	case Debian, Kali, Ubuntu, Custom:
		return false
	}
	switch get[string](r, "ToolsTree") {
	case "":
		return hostDistribution(r) == Ubuntu
	case "default":
		return get[Distribution](r, "ToolsTreeDistribution") == Ubuntu
	}
	return false
}

func defaultOutput(r *resolver) any {
	name := get[string](r, "ImageId")
	if r.name != MainImage {
		name = r.name
	}
	if name == "" {
		name = "image"
	}
	if version := get[string](r, "ImageVersion"); version != "" {
		name += "_" + version
	}
	return name
}

func defaultExtension(r *resolver) any {
	switch get[Format](r, "Format") {
	case FormatConfext, FormatDisk, FormatESP, FormatPortable, FormatSysext:
		return "raw"
	case FormatCPIO:
		return "cpio"
	case FormatTar:
		return "tar"
	case FormatUKI, FormatAddon:
		return "efi"
	}
	return ""
}

func defaultCompression(r *resolver) any {
	switch get[Format](r, "Format") {
	case FormatCPIO, FormatTar, FormatESP, FormatUKI, FormatAddon:
		return CompressionZstd
	case FormatOCI:
		return CompressionGzip
	}
	return CompressionNone
}

func randomSeed(r *resolver) any { return r.seed }

// drawSeed makes a random UUID of version 4.
func drawSeed(source io.Reader) (uuid.UUID, error) {
	if source == nil {
		source = rand.Reader
	}
	id, err := uuid.NewRandomFromReader(source)
	if err != nil {
		return id, fmt.Errorf("drawing a random seed: %w", err)
	}
	return id, nil
}

func defaultEpoch(r *resolver) any {
	text := r.o.Host.Environment["SOURCE_DATE_EPOCH"]
	if text == "" {
		return nil
	}
	t, err := parseTimestamp(nil, text)
	if err != nil {
		r.log.errors.add(&Error{Setting: "SourceDateEpoch", Msg: "SOURCE_DATE_EPOCH in the environment: " + err.Error(),
			Hint: "unset it, or set SourceDateEpoch="})
		return nil
	}
	return t
}

// defaultInitrds asks for the default initrd when the image looks as if it
// were to start on a machine.
func defaultInitrds(r *resolver) any {
	format := get[Format](r, "Format")
	switch get[Feature](r, "Bootable") {
	case Enabled:
		if format != FormatUKI && format != FormatESP { // they take initrds from elsewhere
			return []string{"default"}
		}
		return nil
	case Disabled:
		return nil
	}
	switch format {
	case FormatDisk, FormatTar, FormatOCI, FormatNone:
	default:
		return nil
	}
	facts := distributionTable[get[Distribution](r, "Distribution")]
	packages := slices.Concat(get[[]string](r, "Packages"), get[[]string](r, "VolatilePackages"))
	if get[bool](r, "Overlay") || !slices.ContainsFunc(packages, facts.isKernel) {
		return nil
	}
	return []string{"default"}
}

func defaultChecksum(r *resolver) any { return get[bool](r, "Sign") }

func defaultToolsDistribution(r *resolver) any {
	switch d := hostDistribution(r); d {
	case Ubuntu:
		return Debian
	case RHEL, CentOS, Alma, Rocky:
		return Fedora
	default:
		return d
	}
}

func defaultToolsRelease(r *resolver) any {
	return distributionTable[get[Distribution](r, "ToolsTreeDistribution")].release
}

func defaultToolsMirror(r *resolver) any { return ifSameTools(r, "Mirror") }

func defaultToolsSnapshot(r *resolver) any { return ifSameTools(r, "Snapshot") }

// ifSameTools takes over a setting of the image when the tools tree is of
// the same distribution.
func ifSameTools(r *resolver, name string) any {
	if get[Distribution](r, "Distribution") != get[Distribution](r, "ToolsTreeDistribution") {
		return nil
	}
	return r.value(Lookup(name))
}

func defaultBuildSources(r *resolver) any {
	if r.dir == "" {
		return nil
	}
	return []Tree{{Source: r.dir}}
}

func defaultProxyURL(r *resolver) any {
	for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		if v := r.o.Host.Environment[name]; v != "" {
			return v
		}
	}
	return nil
}

func defaultProxyExclude(r *resolver) any {
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		if v := r.o.Host.Environment[name]; v != "" {
			hosts, _ := splitCommas(v)
			return hosts
		}
	}
	return nil
}

func defaultPeerCertificate(r *resolver) any {
	if r.o.Host.CACertificates == "" {
		return nil
	}
	return r.o.Host.CACertificates
}

func defaultClientKey(r *resolver) any { return r.value(Lookup("ProxyClientCertificate")) }

// defaultDelegateRanges gives containers of ordinary users, who have no other
// way to them, some ranges for containers within.
func defaultDelegateRanges(r *resolver) any {
	if r.o.Host.UID == 0 {
		return 0
	}
	return 3
}

func defaultMachine(r *resolver) any {
	if r.dir == "" {
		return nil
	}
	return filepath.Base(r.dir)
}
