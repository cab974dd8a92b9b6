package repart

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
)

// sizeUnit is what sizes are rounded to, in bytes.
const sizeUnit = 4096

var (
	errUnknownSetting = errors.New("unknown setting")
	errNotBuilt       = errors.New("not supported yet")
)

// notBuilt are settings of repart.d(5) that definitions may hold but that no
// image can be built with yet.
var notBuilt = []string{
	"BlockDeviceReplace", "Compression", "CompressionLevel", "CopyBlocks", "DefaultSubvolume",
	"Discard", "Encrypt", "EncryptKDF", "EncryptedVolume", "FactoryReset", "FileSystemSectorSize",
	"Integrity", "IntegrityAlgorithm", "KeyFile", "MakeSymlinks", "MountPoint", "Priority",
	"Subvolumes", "SupplementFor", "TPM2PCRs", "VerityDataBlockSizeBytes",
	"VerityHashBlockSizeBytes", "VolumeLabel", "VolumeName",
}

// set applies one setting. An empty value takes back what a list held before.
func (d *Definition) set(key, value, architecture string) (err error) {
	switch key {
	case "Type":
		d.Type, err = ParsePartitionType(value, architecture)
	case "Label":
		d.Label, err = parseLabel(value, architecture)
	case "UUID":
		d.UUID, err = parseUUID(value)
	case "Format":
		d.Format = value
	case "CopyFiles":
		d.CopyFiles, err = appendCopyFiles(d.CopyFiles, value, architecture)
	case "ExcludeFiles":
		d.ExcludeFiles, err = appendPaths(d.ExcludeFiles, value)
	case "ExcludeFilesTarget":
		d.ExcludeFilesTarget, err = appendPaths(d.ExcludeFilesTarget, value)
	case "MakeDirectories":
		d.MakeDirectories, err = appendDirectories(d.MakeDirectories, value, architecture)
	case "AddValidateFS":
		d.AddValidateFS, err = parseBool(value)
	case "Verity":
		d.Verity, err = parseVerity(value)
	case "VerityMatchKey":
		d.VerityMatchKey, err = parseMatchKey(value)
	case "Minimize":
		d.Minimize, err = parseMinimize(value)
	case "SizeMinBytes":
		d.SizeMin, err = parseSize(value, true)
	case "SizeMaxBytes":
		d.SizeMax, err = parseSize(value, false)
	case "PaddingMinBytes":
		d.PaddingMin, err = parseSize(value, true)
	case "PaddingMaxBytes":
		d.PaddingMax, err = parseSize(value, false)
	case "Weight":
		d.Weight, err = parseWeight(value)
	case "PaddingWeight":
		d.PaddingWeight, err = parseWeight(value)
	case "Flags":
		d.Flags, err = strconv.ParseUint(value, 0, 64)
	case "NoAuto":
		d.NoAuto, err = parseBool(value)
	case "ReadOnly":
		d.ReadOnly, err = parseBool(value)
	case "GrowFileSystem":
		d.GrowFileSystem, err = parseBool(value)
	case "SplitName":
		d.SplitName, err = parseSplitName(value)
	default:
		if slices.Contains(notBuilt, key) {
			return errNotBuilt
		}
		return errUnknownSetting
	}
	return err
}

// expand replaces the specifiers that hold for definitions of any image.
func expand(s, architecture string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case i == len(s):
			return "", fmt.Errorf("%% at the end of %q (write %%%% for a percent sign)", s)
		case s[i] == '%':
			b.WriteByte('%')
		case s[i] == 'a':
			b.WriteString(architecture)
		default:
			return "", fmt.Errorf("specifier %%%c is not supported yet", s[i])
		}
	}
	return b.String(), nil
}

func parseLabel(s, architecture string) (string, error) {
	label, err := expand(s, architecture)
	if err != nil {
		return "", err
	}
	return label, gpt.CheckName(label)
}

func parseUUID(s string) (*uuid.UUID, error) {
	if s == "" {
		return nil, nil
	}
	if s == "null" {
		return &uuid.Nil, nil
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not a UUID", s)
	}
	return &id, nil
}

func parseBool(s string) (*bool, error) {
	var v bool
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		v = true
	case "0", "no", "n", "false", "f", "off":
	default:
		return nil, fmt.Errorf("%q is not a boolean", s)
	}
	return &v, nil
}

func parseVerity(s string) (VerityRole, error) {
	switch r := VerityRole(s); r {
	case VerityOff, VerityDataRole, VerityHashRole, VeritySignatureRole:
		return r, nil
	}
	if s == "off" {
		return VerityOff, nil
	}
	return "", fmt.Errorf("%q is none of off, data, hash, signature", s)
}

func parseMatchKey(s string) (string, error) {
	if len(s) > 255 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%q is not a short identifier", s)
	}
	return s, nil
}

func parseMinimize(s string) (Minimize, error) {
	switch m := Minimize(s); m {
	case MinimizeOff, MinimizeBest, MinimizeGuess:
		return m, nil
	}
	on, err := parseBool(s)
	if err != nil {
		return "", fmt.Errorf("%q is none of off, best, guess", s)
	}
	if *on {
		return MinimizeBest, nil
	}
	return MinimizeOff, nil
}

// parseSize reads a size in bytes with an optional suffix, powers of 1024, and
// rounds it to whole units, up or down.
func parseSize(s string, up bool) (*uint64, error) {
	if s == "" {
		return nil, nil
	}
	digits := strings.TrimRight(s, "BKMGTPE")
	shift, ok := map[string]uint{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}[s[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return nil, fmt.Errorf("%q is not a size in bytes, such as 4096, 512K or 10M", s)
	}
	if n > math.MaxInt64>>shift {
		return nil, fmt.Errorf("%s is too large", s)
	}
	n <<= shift
	if up {
		n = min(n, math.MaxInt64-sizeUnit)
		n = (n + sizeUnit - 1) / sizeUnit * sizeUnit
	} else {
		n = n / sizeUnit * sizeUnit
	}
	return &n, nil
}

func parseWeight(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > 1000000 {
		return 0, fmt.Errorf("%q is not a number from 0 to 1000000", s)
	}
	return uint32(n), nil
}

// parsePath returns an absolute path without "." and "..".
func parsePath(s string) (string, error) {
	if !path.IsAbs(s) || strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("%q is not an absolute path", s)
	}
	if slices.Contains(strings.Split(s, "/"), "..") {
		return "", fmt.Errorf("%q leads out of the tree", s)
	}
	return path.Clean(s), nil
}

func appendCopyFiles(list []CopyFiles, value, architecture string) ([]CopyFiles, error) {
	if value == "" {
		return nil, nil
	}
	if strings.ContainsAny(value, "\"'\\") {
		return nil, fmt.Errorf("quotes and backslashes in %q are not supported yet", value)
	}
	value, err := expand(value, architecture)
	if err != nil {
		return nil, err
	}
	fields := strings.SplitN(value, ":", 3)
	if len(fields) == 3 && fields[2] != "" && fields[2] != "fsverity=off" {
		return nil, fmt.Errorf("option %s is not supported yet", fields[2])
	}
	c := CopyFiles{}
	if c.Source, err = parsePath(fields[0]); err != nil {
		return nil, err
	}
	c.Target = c.Source
	if len(fields) > 1 && fields[1] != "" {
		if c.Target, err = parsePath(fields[1]); err != nil {
			return nil, err
		}
	}
	return append(list, c), nil
}

// appendPaths adds a list of paths, each of which keeps a slash at its end.
func appendPaths(list []string, value string) ([]string, error) {
	if value == "" {
		return nil, nil
	}
	for _, field := range strings.Fields(value) {
		p, err := parsePath(field)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(field, "/") && p != "/" {
			p += "/"
		}
		list = append(list, p)
	}
	return list, nil
}

func appendDirectories(list []string, value, architecture string) ([]string, error) {
	value, err := expand(value, architecture)
	if err != nil || value == "" {
		return nil, err
	}
	for _, field := range strings.Fields(value) {
		p, err := parsePath(field)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// parseSplitName checks the specifiers; they are replaced when the partition
// is finished.
func parseSplitName(s string) (string, error) {
	if _, err := ExpandSplitName(s, FinishedPartition{}); err != nil {
		return "", err
	}
	return s, nil
}

// FinishedPartition is what SplitName= can refer to.
type FinishedPartition struct {
	Type   PartitionType
	UUID   uuid.UUID
	Number int
}

// ExpandSplitName replaces the specifiers of SplitName=, whose default is %t;
// "-" gives nothing.
func ExpandSplitName(s string, p FinishedPartition) (string, error) {
	if s == "" {
		s = "%t"
	}
	if s == "-" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case '%':
			b.WriteByte('%')
		case 't':
			b.WriteString(p.Type.Name)
		case 'T':
			b.WriteString(p.Type.UUID.String())
		case 'U':
			b.WriteString(p.UUID.String())
		case 'n':
			b.WriteString(strconv.Itoa(p.Number))
		default:
			return "", fmt.Errorf("specifier %%%c is not supported yet", s[i])
		}
	}
	name := b.String()
	if strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
		return "", fmt.Errorf("%q is not part of a file name", name)
	}
	return name, nil
}
