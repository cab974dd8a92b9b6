package config

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/shellwords"
	"github.com/mkosi-go/mkosi/internal/version"
)

// The kinds of the settings table. Those of paths are in path.go.
var (
	boolean = scalar("boolean", func(_ *place, text string) (bool, error) { return parseBool(text) })
	feature = scalar("feature", func(_ *place, text string) (Feature, error) { return parseFeature(text) })
	text    = scalar("text", func(_ *place, text string) (string, error) { return text, nil })

	commaList = list("list", splitCommas, one(anyWord))
	spaceList = list("words", splitSpaces, one(anyWord))
	shellList = list("quoted words", shellwords.Split, one(anyWord))
	profiles  = list("list of profiles", splitCommas, one(parseProfile))

	manifestFormats = list("list of formats", splitCommas, func(c *place, text string) ([]ManifestFormat, error) {
		v, err := manifestFormat.parse(c, nil, text)
		if err != nil {
			return nil, err
		}
		return []ManifestFormat{v.(ManifestFormat)}, nil
	})
	manifestFormat = enum("", "", ManifestJSON, ManifestChangelog)

	filename    = scalar("file name", parseFilename)
	size        = scalar("size", func(_ *place, text string) (*int64, error) { n, err := ParseSize(text); return &n, err })
	fixedSize   = scalar("size", func(_ *place, text string) (int64, error) { return ParseSize(text) })
	integer     = scalar("number", func(_ *place, text string) (int, error) { return parseInt(text) })
	mode        = scalar("access mode", parseMode)
	sectorSize  = scalar("sector size", parseSectorSize)
	timestamp   = scalar("seconds since 1970", parseTimestamp)
	optionalID  = scalar("UUID", parseOptionalID)
	seed        = &kind{name: "UUID", choices: []string{"random"}, parse: parseSeed}
	compression = scalar("compression", parseCompression)
	vsockCID    = scalar("VSock connection ID", parseVSockCID)
	keySource   = scalar("key source", parseKeySource("file", "engine", "provider"))
	// OpenSSL's engines keep keys, not certificates.
	certificateSource = scalar("certificate source", parseKeySource("file", "provider"))
	compressLevel     = scalar("compression level", parseCompressLevel)
	password          = scalar("password", parsePassword)
	drives            = list("list of drives", splitSpaces, one(parseDrive))
	modules           = list("list of regular expressions", splitCommas, one(parseModuleRegexp))
	environment       = dict("variables", parseVariable)
	labels            = dict("NAME=VALUE words", parseLabel)

	minimumVersion = &kind{name: "version", parse: parseMinimumVersion, keeps: true}
	artifacts      = &kind{
		name:    "list of artifacts",
		choices: words(allArtifacts),
		parse:   parseArtifacts,
		merge:   func(low, high any) any { return slices.Concat(low.([]Artifact), high.([]Artifact)) },
	}
)

var (
	allArtifacts = []Artifact{
		ArtifactUKI, ArtifactKernel, ArtifactInitrd, ArtifactOSRelease, ArtifactPCRs, ArtifactPartitions,
		ArtifactRoothash, ArtifactKernelModulesInitrd, ArtifactRepartDefinitions, ArtifactTar,
	}
	defaultArtifacts = []Artifact{ArtifactUKI, ArtifactKernel, ArtifactInitrd}
)

func anyWord(_ *place, text string) (string, error) { return text, nil }

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "1", "yes", "y", "true", "t", "on", "always":
		return true, nil
	case "0", "no", "n", "false", "f", "off", "never":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", text)
}

func parseFeature(text string) (Feature, error) {
	switch v := Feature(text); v {
	case Auto, Enabled, Disabled:
		return v, nil
	}
	on, err := parseBool(text)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is none of yes, no and auto", text)
	case on:
		return Enabled, nil
	}
	return Disabled, nil
}

func parseProfile(_ *place, text string) (string, error) {
	if text != filepath.Base(text) || text == ".." || text == "." {
		return "", fmt.Errorf("%q is not the name of a profile: it has path components", text)
	}
	return text, nil
}

func parseFilename(_ *place, text string) (string, error) {
	if text == "." || text == ".." || strings.ContainsRune(text, '/') {
		return "", fmt.Errorf("%q is not a file name: it has path components", text)
	}
	return text, nil
}

// ParseSize reads a positive number of bytes, which may end in K, M or G for
// powers of 1024. It is rounded up to a whole page as the file systems and
// partitions that it is for are.
func ParseSize(text string) (int64, error) {
	const page = 4096
	number, factor := text, 1.0
	switch {
	case strings.HasSuffix(text, "G"):
		number, factor = text[:len(text)-1], 1<<30
	case strings.HasSuffix(text, "M"):
		number, factor = text[:len(text)-1], 1<<20
	case strings.HasSuffix(text, "K"):
		number, factor = text[:len(text)-1], 1<<10
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(f) {
		return 0, fmt.Errorf("%q is not a size: use a number and K, M or G", text)
	}
	f = math.Ceil(f * factor)
	if f <= 0 || f > math.MaxInt64/2 {
		return 0, fmt.Errorf("size %s is out of range", text)
	}
	return (int64(f) + page - 1) / page * page, nil
}

func parseInt(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	return n, nil
}

func parseMode(_ *place, text string) (*uint32, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil {
		return nil, fmt.Errorf("%q is not an octal number", text)
	}
	if n > 0o1777 {
		return nil, fmt.Errorf("access mode %s is above 1777", text)
	}
	m := uint32(n)
	return &m, nil
}

func parseSectorSize(_ *place, text string) (*int, error) {
	n, err := parseInt(text)
	if err != nil {
		return nil, err
	}
	if n < 512 || n > 4096 || n&(n-1) != 0 {
		return nil, fmt.Errorf("sector size %d is none of 512, 1024, 2048 and 4096", n)
	}
	return &n, nil
}

func parseTimestamp(_ *place, text string) (*int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a whole number of seconds", text)
	}
	if n < 0 {
		return nil, fmt.Errorf("timestamp %d is before 1970", n)
	}
	return &n, nil
}

func parseUUID(text string) (uuid.UUID, error) {
	digits := strings.NewReplacer("urn:", "", "uuid:", "", "-", "").Replace(text)
	id, err := uuid.Parse(strings.Trim(digits, "{}"))
	if err != nil {
		return id, fmt.Errorf("%q is not a UUID", text)
	}
	return id, nil
}

// parseOptionalID reads a UUID, or draws one.
func parseOptionalID(c *place, text string) (*uuid.UUID, error) {
	if text == "random" {
		id := uuid.NewSHA1(c.seed, []byte(c.setting.Name))
		return &id, nil
	}
	id, err := parseUUID(text)
	return &id, err
}

// parseSeed yields no value for "random", so that the default stands.
func parseSeed(_ *place, _ any, text string) (any, error) {
	if text == "random" {
		return nil, nil
	}
	id, err := parseUUID(text)
	if err != nil {
		return nil, err
	}
	return id, nil
}

func parseCompression(_ *place, text string) (Compression, error) {
	names := map[string]Compression{
		"none": CompressionNone, "zst": CompressionZstd, "zstd": CompressionZstd, "xz": CompressionXZ,
		"bz2": CompressionBzip2, "gz": CompressionGzip, "gzip": CompressionGzip, "lz4": CompressionLZ4, "lzma": CompressionLZMA,
	}
	if c, ok := names[text]; ok {
		return c, nil
	}
	on, err := parseBool(text)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is not a compression", text)
	case on:
		return CompressionZstd, nil
	}
	return CompressionNone, nil
}

func parseVSockCID(_ *place, text string) (int64, error) {
	switch text {
	case "auto":
		return VSockCIDAuto, nil
	case "hash":
		return VSockCIDHash, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number, auto or hash", text)
	}
	if n < 3 || n >= 0xFFFFFFFF {
		return 0, fmt.Errorf("VSock connection ID %d is not between 3 and 4294967294", n)
	}
	return n, nil
}

func parseKeySource(types ...string) func(*place, string) (KeySource, error) {
	return func(_ *place, text string) (KeySource, error) {
		kind, source, _ := strings.Cut(text, ":")
		if slices.Contains(types, kind) {
			return KeySource{Type: kind, Source: source}, nil
		}
		return KeySource{}, &choiceError{text: text, choices: types}
	}
}

func parseCompressLevel(_ *place, text string) (int, error) {
	n, err := parseInt(text)
	if err == nil && n < 0 {
		err = fmt.Errorf("compression level %d is below 0", n)
	}
	return n, err
}

func parsePassword(_ *place, text string) (*RootPassword, error) {
	if hash, ok := strings.CutPrefix(text, "hashed:"); ok {
		return &RootPassword{Password: hash, Hashed: true}, nil
	}
	return &RootPassword{Password: text}, nil
}

// parseDrive reads ID:SIZE[:DIRECTORY[:OPTIONS[:FILE-ID[:FLAGS]]]].
func parseDrive(c *place, text string) (Drive, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 6 || parts[0] == "" {
		return Drive{}, fmt.Errorf("%q is not a drive: write ID:SIZE and up to four more parts", text)
	}
	size, err := ParseSize(parts[1])
	if err != nil {
		return Drive{}, err
	}
	parts = append(parts, make([]string, 6-len(parts))...)
	d := Drive{ID: parts[0], Size: size, Directory: parts[2], Options: parts[3], FileID: parts[4]}
	if d.FileID == "" {
		d.FileID = d.ID
	}
	if d.Flags, err = splitCommas(parts[5]); err != nil {
		return Drive{}, err
	}
	if d.Directory, err = driveDirectory(c, d.Directory); err != nil {
		return Drive{}, err
	}
	for _, flag := range d.Flags {
		if flag != "persist" {
			return Drive{}, fmt.Errorf("drive flag %q is unknown, there is only persist", flag)
		}
	}
	return d, nil
}

// parseModuleRegexp makes a pattern of the newer settings out of a regular
// expression of the older ones.
func parseModuleRegexp(_ *place, text string) (string, error) {
	if text == "default" || text == "host" {
		return text, nil
	}
	return "re:" + text, nil
}

func parseVariable(c *place, text string) (string, string, error) {
	name, value, ok := strings.Cut(text, "=")
	if name == "" {
		return "", "", fmt.Errorf("%q is not of the form NAME or NAME=VALUE", text)
	}
	if !ok {
		value = c.env[name]
	}
	return name, value, nil
}

func parseLabel(_ *place, text string) (string, string, error) {
	name, value, _ := strings.Cut(text, "=")
	if name == "" {
		return "", "", fmt.Errorf("%q is not of the form NAME=VALUE", text)
	}
	return name, value, nil
}

// parseMinimumVersion keeps the highest version. Whether the program is as new
// as a commit of mkosi's history is not known.
func parseMinimumVersion(c *place, old any, text string) (any, error) {
	if strings.HasPrefix(text, "commit:") {
		w := &Error{File: c.from.File, Line: c.from.Line, Setting: c.setting.Name,
			Msg:  fmt.Sprintf("%s=%s is not checked: a commit says nothing about this program", c.setting.Name, text),
			Hint: "name the release that the configuration needs"}
		if w.File != "" {
			w.pointAt(text)
		}
		c.warnings.add(w)
		return old, nil
	}
	if !c.unread && version.Compare(Version, text) < 0 {
		return nil, &versionError{text}
	}
	if o, ok := old.(string); ok && version.Compare(o, text) > 0 {
		return o, nil
	}
	return text, nil
}

// versionError is a version that the program does not have.
type versionError struct{ version string }

func (e *versionError) Error() string {
	return fmt.Sprintf("the configuration needs mkosi %s, and this is the language of %s", e.version, Version)
}

func (e *versionError) hint() string { return "use a newer version of the program" }

// parseArtifacts reads a list; a boolean says whether partitions are split,
// in addition to the default.
func parseArtifacts(_ *place, old any, text string) (any, error) {
	if on, err := parseBool(text); err == nil {
		if on {
			return append(slices.Clone(defaultArtifacts), ArtifactPartitions), nil
		}
		return slices.Clone(defaultArtifacts), nil
	}
	names, err := splitCommas(text)
	if err != nil {
		return nil, err
	}
	values, _ := old.([]Artifact)
	for _, name := range names {
		if !slices.Contains(allArtifacts, Artifact(name)) {
			return nil, &wordError{name, &choiceError{text: name, choices: words(allArtifacts)}}
		}
		values = append(values, Artifact(name))
	}
	return values, nil
}

// driveDirectory replaces variables, but no tilde.
func driveDirectory(c *place, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	dir := expandVariables(c.env, text)
	path := dir
	if !absolute(path) {
		path = c.dir + "/" + path
	}
	if !c.unread && !exists(tidy(path)) {
		return "", fmt.Errorf("directory %s does not exist", dir)
	}
	return dir, nil
}
