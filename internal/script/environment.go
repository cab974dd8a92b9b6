package script

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/mkosi-go/mkosi/internal/config"
	"github.com/mkosi-go/mkosi/internal/distro"
	"github.com/mkosi-go/mkosi/internal/pkgmgr"
)

// variable is an environment variable of scripts. It is not set where its value is "".
type variable struct {
	name  string
	kinds []Kind
	value func(v *View, k Kind) string
}

// Kinds of scripts that have variables in common.
var (
	every      = []Kind{Configure, Clean, Sync, Prepare, Build, PostInstallation, Finalize, PostOutput}
	configured = []Kind{Clean, Sync, Prepare, Build, PostInstallation, Finalize, PostOutput}
	onImage    = []Kind{Prepare, Build, PostInstallation, Finalize}
	afterwards = []Kind{PostInstallation, Finalize}
	building   = []Kind{Build, PostInstallation, Finalize}
	outputting = []Kind{Clean, PostInstallation, Finalize, PostOutput}
	compiling  = []Kind{Prepare, Build}
)

// variables are those that mkosi 27.1 sets, and where it sets them. Its manual's table lacks some.
var variables = []variable{
	{"ARCHITECTURE", every, func(v *View, _ Kind) string { return string(v.Image.Architecture) }},
	{"ARTIFACTDIR", onImage, func(v *View, _ Kind) string { return where(v.ArtifactDir, artifactDir) }},
	{"BUILDDIR", building, func(v *View, _ Kind) string { return where(v.BuildDir, BuildDir) }},
	{"BUILDROOT", onImage, constant(buildRoot)},
	{"CACHED", []Kind{Sync}, func(v *View, _ Kind) string { return oneOrZero(v.Cached) }},
	{"CHROOT_BUILDDIR", []Kind{Build}, func(v *View, _ Kind) string { return where(v.BuildDir, BuildDir) }},
	{"CHROOT_DESTDIR", []Kind{Build}, func(v *View, _ Kind) string { return where(v.DestDir, destDir) }},
	{"CHROOT_OUTPUTDIR", afterwards, func(v *View, _ Kind) string { return where(v.OutputDir, outputDir) }},
	{"CHROOT_SCRIPT", onImage, func(_ *View, k Kind) string { return path.Join(workDir, kinds[k].file) }},
	{"CHROOT_SRCDIR", onImage, constant(SourceDir)},
	{"DESTDIR", []Kind{Build}, func(v *View, _ Kind) string { return where(v.DestDir, destDir) }},
	{"DISTRIBUTION", every, func(v *View, _ Kind) string { return string(v.Image.Distribution) }},
	{"DISTRIBUTION_ARCHITECTURE", every, func(v *View, _ Kind) string { return distributionArchitecture(v.Image) }},
	{"EFI_ARCHITECTURE", every, func(v *View, _ Kind) string { return v.Image.Architecture.EFI() }},
	{"HOME", every, constant("/")},
	{"IMAGE_ID", every, func(v *View, _ Kind) string { return v.Image.ImageId }},
	{"IMAGE_VERSION", every, func(v *View, _ Kind) string { return v.Image.ImageVersion }},
	{"LANG", every, constant("C.UTF-8")},
	{"MKOSI_CONFIG", configured, constant(configFile)},
	{"MKOSI_DEBUG", every, func(v *View, _ Kind) string { return oneOrZero(v.Debug) }},
	{"MKOSI_GID", every, func(v *View, _ Kind) string { return strconv.Itoa(v.GID) }},
	{"MKOSI_UID", every, func(v *View, _ Kind) string { return strconv.Itoa(v.UID) }},
	{"OUTPUTDIR", outputting, func(v *View, _ Kind) string { return where(v.OutputDir, outputDir) }},
	{"PACKAGEDIR", onImage, func(v *View, _ Kind) string { return where(v.PackageDir, packageDir) }},
	{"PROFILES", every, func(v *View, _ Kind) string { return strings.Join(v.Image.Profiles, " ") }},
	{"QEMU_ARCHITECTURE", []Kind{Configure}, func(v *View, _ Kind) string { return v.Image.Architecture.QEMU() }},
	{"RELEASE", every, func(v *View, _ Kind) string { return v.Image.Release }},
	{"SCRIPT", onImage, func(_ *View, k Kind) string { return path.Join(workDir, kinds[k].file) }},
	{"SOURCE_DATE_EPOCH", every, func(v *View, _ Kind) string { return epoch(v.Image) }},
	{"SRCDIR", every, constant(SourceDir)},
	{"SSH_AUTH_SOCK", []Kind{Sync}, func(v *View, _ Kind) string { return where(v.sshAgent(), sshSocket) }},
	{"SYSTEMD_ASK_PASSWORD_KEYRING_TIMEOUT_SEC", every, constant("infinity")},
	{"SYSTEMD_ASK_PASSWORD_KEYRING_TYPE", every, constant("session")},
	{"SYSTEMD_OFFLINE", every, func(v *View, k Kind) string { return oneOrZero(k.Network(v.Image)) }},
	{"SYSTEMD_TMPFILES_FORCE_SUBVOL", every, constant("0")},
	{"TERM", every, constant("dumb")},
	{"WITH_DOCS", compiling, func(v *View, _ Kind) string { return oneOrZero(v.Image.WithDocs) }},
	{"WITH_NETWORK", onImage, func(v *View, _ Kind) string { return oneOrZero(v.Image.WithNetwork) }},
	{"WITH_TESTS", compiling, func(v *View, _ Kind) string { return oneOrZero(v.Image.WithTests) }},
}

// environment is the environment of a kind of scripts, as NAME=value. What the user sets by Environment= comes before
// all but PATH.
func (v *View) environment(k Kind) ([]string, error) {
	env := map[string]string{}
	for _, variable := range variables {
		if !slices.Contains(variable.kinds, k) {
			continue
		}
		if value := variable.value(v, k); value != "" {
			env[variable.name] = value
		}
	}
	asked, err := v.Image.ReadEnvironment()
	if err != nil {
		return nil, err
	}
	if k.Network(v.Image) {
		maps.Copy(env, proxyVariables(v.Image, asked["GIT_CONFIG_COUNT"]))
		delete(asked, "GIT_CONFIG_COUNT")
	}
	maps.Copy(env, asked)
	env["PATH"] = strings.Join(v.searchPath(k), ":")
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}

// searchPath lists the directories in which scripts find programs.
func (v *View) searchPath(k Kind) []string {
	dirs := slices.Concat(v.Image.ExtraSearchPaths, []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"})
	if k.SeesImage() {
		dirs = append([]string{CommandDir}, dirs...)
	}
	return dirs
}

// proxyVariables tell programs of the proxy. git takes it as settings, which are counted on from those that the user
// gave in the same way.
func proxyVariables(img *config.Image, gitCount string) map[string]string {
	env := map[string]string{}
	if gitCount != "" {
		env["GIT_CONFIG_COUNT"] = gitCount
	}
	if img.ProxyUrl != "" {
		n, _ := strconv.Atoi(gitCount) // git says what is wrong with it
		for i, scheme := range []string{"http", "https"} {
			env[scheme+"_proxy"] = img.ProxyUrl
			env[strings.ToUpper(scheme)+"_PROXY"] = img.ProxyUrl
			env[fmt.Sprintf("GIT_CONFIG_KEY_%d", n+i)] = scheme + ".proxy"
			env[fmt.Sprintf("GIT_CONFIG_VALUE_%d", n+i)] = img.ProxyUrl
		}
		env["GIT_CONFIG_COUNT"] = strconv.Itoa(n + 2)
	}
	if hosts := strings.Join(img.ProxyExclude, ","); hosts != "" {
		env["no_proxy"], env["NO_PROXY"] = hosts, hosts
	}
	for _, f := range proxyFiles(img) {
		if f.source != "" {
			env[f.variable] = f.target
		}
	}
	return env
}

// proxyFile is a file that programs use to talk to the proxy.
type proxyFile struct{ source, target, variable string }

func proxyFiles(img *config.Image) []proxyFile {
	return []proxyFile{
		{img.ProxyPeerCertificate, pkgmgr.ProxyCA, "GIT_PROXY_SSL_CAINFO"},
		{img.ProxyClientCertificate, pkgmgr.ProxyCertificate, "GIT_PROXY_SSL_CERT"},
		{img.ProxyClientKey, pkgmgr.ProxyKey, "GIT_PROXY_SSL_KEY"},
	}
}

// constant is the value of a variable that is the same in all scripts.
func constant(value string) func(*View, Kind) string {
	return func(*View, Kind) string { return value }
}

// where is the place at which scripts find something that exists outside, or "".
func where(outside, inside string) string {
	if outside == "" {
		return ""
	}
	return inside
}

func oneOrZero(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func epoch(img *config.Image) string {
	if img.SourceDateEpoch == nil {
		return ""
	}
	return strconv.FormatInt(*img.SourceDateEpoch, 10)
}

// distributionArchitecture is the distribution's own name of the architecture, or ours where it has none.
func distributionArchitecture(img *config.Image) string {
	d, err := distro.Lookup(string(img.Distribution))
	if err != nil {
		return string(img.Architecture)
	}
	if arch, err := d.Architecture(string(img.Architecture)); err == nil {
		return arch
	}
	return string(img.Architecture)
}
