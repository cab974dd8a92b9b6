package config

import (
	"fmt"
	"maps"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/host"
)

// MainImage is the name of the image that the top directory describes.
const MainImage = "main"

// Image is the configuration of one image, complete: every setting has its
// final value, defaults included, paths are absolute and specifiers expanded.
//
// A field has the name of its setting; what a setting means is said once, in
// the settings table ([Lookup]). A string that is empty, a nil pointer and
// an empty list mean that the setting has no value, unless a comment says more.
type Image struct {
	// Image is "main", or the name of a subimage, without path or extension.
	Image string
	// Files lists the configuration files that were read for this image, in
	// the order in which they were read.
	Files []string

	// [Include] section.

	Include []string // resolved paths, and names of built-in configurations

	// [Config] section.

	Profiles         []string
	Dependencies     []string
	MinimumVersion   string
	ConfigureScripts []string
	PassEnvironment  []string

	// [Distribution] section.

	Distribution       Distribution
	Release            string
	Architecture       Architecture
	Mirror             string
	Snapshot           string
	LocalMirror        string
	RepositoryKeyCheck bool
	RepositoryKeyFetch bool
	Repositories       []string

	// [Output] section.

	Format            Format
	ManifestFormat    []ManifestFormat
	Output            string // without extension; see OutputName
	OutputExtension   string
	OutputSize        *int64 // bytes; nil leaves the size to the partitions
	CompressOutput    Compression
	CompressLevel     int // meaning depends on CompressOutput
	OutputDirectory   string
	OutputMode        *uint32 // permission bits; nil follows the umask
	ImageVersion      string
	ImageId           string
	OciLabels         map[string]string
	OciAnnotations    map[string]string
	SplitArtifacts    []Artifact
	RepartDirectories []string
	SectorSize        *int      // bytes: 512, 1024, 2048 or 4096; nil is 512
	Overlay           bool      // keep only what differs from BaseTrees
	Seed              uuid.UUID // random unless configured
	ElTorito          Feature
	ElToritoSystem    string
	ElToritoVolume    string
	ElToritoPublisher string
	CleanScripts      []string

	// [Content] section.

	Packages                       []string // sorted, as are BuildPackages and VolatilePackages
	BuildPackages                  []string
	VolatilePackages               []string
	PackageDirectories             []string
	VolatilePackageDirectories     []string
	WithRecommends                 bool
	WithDocs                       bool
	BaseTrees                      []string // paths, lowest first
	SkeletonTrees                  []Tree
	ExtraTrees                     []Tree
	RemovePackages                 []string
	RemoveFiles                    []string
	CleanPackageMetadata           Feature
	SourceDateEpoch                *int64 // seconds since 1970
	SyncScripts                    []string
	PrepareScripts                 []string
	BuildScripts                   []string
	PostInstallationScripts        []string
	FinalizeScripts                []string
	PostOutputScripts              []string
	Bootable                       Feature
	Bootloader                     Bootloader
	BiosBootloader                 BiosBootloader
	ShimBootloader                 ShimBootloader
	UnifiedKernelImages            UnifiedKernelImages
	UnifiedKernelImageFormat       string
	UnifiedKernelImageProfiles     []UKIProfile
	Initrds                        []string // paths; the default initrd is an output among them
	MicrocodeHost                  bool
	InitrdProfiles                 []string
	InitrdPackages                 []string
	InitrdVolatilePackages         []string
	Devicetrees                    []string
	Splash                         string
	KernelCommandLine              []string
	KernelModulesExclude           []string // re:REGEX
	KernelModules                  []string // patterns: glob, re:REGEX or -pattern
	KernelModulesIncludeHost       bool
	KernelModulesInitrd            bool
	KernelModulesInitrdExclude     []string
	KernelInitrdModules            []string
	KernelModulesInitrdIncludeHost bool
	FirmwareExclude                []string
	FirmwareFiles                  []string // patterns as KernelModules
	Locale                         string
	LocaleMessages                 string
	Keymap                         string
	Timezone                       string
	Hostname                       string
	RootPassword                   *RootPassword // a secret
	RootShell                      string
	MachineId                      *uuid.UUID
	Autologin                      bool
	MakeInitrd                     bool
	Ssh                            Ssh
	SELinuxRelabel                 Feature

	// [Validation] section.

	SecureBoot                       bool
	SecureBootAutoEnroll             bool
	SecureBootKey                    string
	SecureBootKeySource              KeySource
	SecureBootCertificate            string
	SecureBootCertificateSource      KeySource
	SecureBootSignTool               SecureBootSignTool
	Verity                           Verity
	VerityKey                        string
	VerityKeySource                  KeySource
	VerityCertificate                string
	VerityCertificateSource          KeySource
	SignExpectedPcr                  Feature
	SignExpectedPcrKey               string
	SignExpectedPcrKeySource         KeySource
	SignExpectedPcrCertificate       string
	SignExpectedPcrCertificateSource KeySource
	SignInitrdPCRs                   Feature
	Passphrase                       string // path of a secret file
	Checksum                         bool
	Sign                             bool
	Key                              string
	OpenPGPTool                      string

	// [Build] section.

	ToolsTree                   string // path of the tree; "" uses the host
	ToolsTreeDistribution       Distribution
	ToolsTreeRelease            string
	ToolsTreeProfiles           []string
	ToolsTreeMirror             string
	ToolsTreeSnapshot           string
	ToolsTreeRepositories       []string
	ToolsTreeSandboxTrees       []Tree
	ToolsTreePackages           []string
	ToolsTreePackageDirectories []string
	ToolsTreeCertificates       bool
	ExtraSearchPaths            []string
	Incremental                 Incremental
	CacheOnly                   CacheOnly
	SandboxTrees                []Tree
	WorkspaceDirectory          string
	CacheDirectory              string
	CacheKey                    string // still holds its &-specifiers
	PackageCacheDirectory       string
	BuildDirectory              string
	BuildKey                    string // still holds its &-specifiers
	UseSubvolumes               Feature
	RepartOffline               bool
	History                     bool
	BuildSources                []Tree // defaults to the configuration directory
	BuildSourcesEphemeral       BuildSourcesEphemeral
	Environment                 map[string]string
	EnvironmentFiles            []string // not merged into Environment yet, see ReadEnvironment
	WithTests                   bool
	WithNetwork                 bool
	ProxyUrl                    string
	ProxyExclude                []string // nil when never set
	ProxyPeerCertificate        string
	ProxyClientCertificate      string
	ProxyClientKey              string
	MakeScriptsExecutable       bool
	ForeignUIDRange             bool
	DelegateRanges              int

	// [Runtime] section.

	NSpawnSettings         string
	Ephemeral              bool
	Credentials            []Credential
	KernelCommandLineExtra []string
	RuntimeTrees           []Tree
	RuntimeSize            *int64 // bytes
	RuntimeNetwork         RuntimeNetwork
	RuntimeBuildSources    bool
	BindUser               bool
	SshKey                 string
	SshCertificate         string
	VirtualMachineMonitor  VirtualMachineMonitor
	Machine                string
	ForwardJournal         string
	SysupdateDirectory     string
	Console                Console
	CPUs                   int    // 0 means every CPU of the host
	RAM                    int64  // bytes
	MaxMem                 *int64 // bytes
	KVM                    Feature
	CXL                    bool
	VSock                  Feature
	VSockCID               int64 // or VSockCIDAuto, VSockCIDHash
	TPM                    Feature
	Removable              bool
	DiskType               DiskType
	Firmware               Firmware
	FirmwareVariables      string
	Linux                  string
	Drives                 []Drive
	QemuArgs               []string
	Register               Feature
	StorageTargetMode      Feature

	origins map[string][]Origin
	history map[string][]Assignment
	host    Architecture // of the machine
}

// Origin returns the assignments that made the value of a setting, the
// oldest first. It is empty for a setting that has its built-in default.
// Where a single value was assigned more than once, the last origin won.
func (img *Image) Origin(setting string) []Origin { return img.origins[setting] }

// ReadEnvironment returns the variables for scripts and package managers:
// those of EnvironmentFiles= with those of Environment= on top.
func (img *Image) ReadEnvironment() (map[string]string, error) {
	env := map[string]string{}
	for _, path := range img.EnvironmentFiles {
		data, err := readFile(path, maxValue)
		if err != nil {
			return nil, fmt.Errorf("reading the environment file %s: %s", path, rootCause(err))
		}
		maps.Copy(env, host.ParseOSRelease(string(data)))
	}
	maps.Copy(env, img.Environment)
	return env, nil
}
