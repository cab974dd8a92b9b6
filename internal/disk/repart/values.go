package repart

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/mkosi-go/mkosi/internal/disk/gpt"
	"github.com/mkosi-go/mkosi/internal/spelling"
)

// parseID reads a UUID, with or without dashes.
func parseID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil || s[0] == '{' {
		return uuid.Nil, fmt.Errorf("%q is not a UUID", s)
	}
	return id, nil
}

// parseUUID reads UUID=.
func parseUUID(s string) (*uuid.UUID, error) {
	if s == "" {
		return nil, nil
	}
	if s == "null" {
		return &uuid.UUID{}, nil
	}
	id, err := parseID(s)
	if err != nil {
		return nil, fmt.Errorf("%w (write one such as 4f68bce3-e8cd-4db1-96e7-fbcaf984b709, or null)", err)
	}
	return &id, nil
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, nil
	case "0", "no", "n", "false", "f", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a boolean (write yes or no)", s)
}

// parseSwitch reads a boolean that can be left to its default.
func parseSwitch(s string) (*bool, error) {
	if s == "" {
		return nil, nil
	}
	v, err := parseBool(s)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// parseChoice returns a function that reads one of a few words; no word gives
// the zero value.
func parseChoice[T ~string](choices ...T) func(string) (T, error) {
	return func(s string) (T, error) {
		if s == "" || slices.Contains(choices, T(s)) {
			return T(s), nil
		}
		words := make([]string, len(choices))
		for i, c := range choices {
			words[i] = string(c)
		}
		hint := ""
		if near := spelling.Nearest(s, words); near != "" {
			hint = fmt.Sprintf(" (did you mean %q?)", near)
		}
		return "", fmt.Errorf("%q is none of %s%s", s, strings.Join(words, ", "), hint)
	}
}

// orBool returns a function that reads a word, or a boolean that stands for
// one. The word "off" gives the zero value.
func orBool[T ~string](yes T, parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (T, error) {
		on, err := parseBool(s)
		switch {
		case err == nil && on:
			return yes, nil
		case err == nil:
			return "", nil
		}
		return parse(s)
	}
}

func parseMinimize(s string) (Minimize, error) {
	return orBool(MinimizeBest, parseChoice("off", MinimizeBest, MinimizeGuess))(s)
}

func parseVerity(s string) (VerityRole, error) {
	role, err := parseChoice("off", VerityDataRole, VerityHashRole, VeritySignatureRole)(s)
	if role == "off" {
		return VerityOff, err
	}
	return role, err
}

func parseEncrypt(s string) (Encrypt, error) {
	switch s {
	case "tpm2", "key-file+tpm2":
		return "", fmt.Errorf("%s is not supported yet: no key can be sealed to a TPM while an image is made (use key-file)", s)
	}
	return orBool(EncryptKeyFile, parseChoice("off", EncryptKeyFile))(s)
}

// parseIntegrity reads Integrity=, of which only the default can be done.
func parseIntegrity(s string) (string, error) {
	v, err := orBool("inline", parseChoice("off", "inline"))(s)
	if err == nil && v != "" {
		return "", fmt.Errorf("inline integrity needs the device mapper of a running system, and an image is made without")
	}
	return "", err
}

func parseFormat(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("the name of a file system is missing (leave the setting out for a partition without one)")
	}
	return parseChoice(FormatExt4, FormatBtrfs, FormatXFS, FormatF2FS, FormatVFAT, FormatErofs, FormatSquashfs, FormatSwap, FormatEmpty)(s)
}

// parseMatchKey reads VerityMatchKey=.
func parseMatchKey(s string) (string, error) {
	if len(s) > 255 || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("%.300q is not a short identifier", s)
	}
	return s, nil
}

// parseDefinitionName reads SupplementFor=.
func parseDefinitionName(s string) (string, error) {
	if strings.ContainsAny(s, "/\x00") || s == "." || s == ".." {
		return "", fmt.Errorf("%q is not the name of a definition (write one without directory and without .conf, such as 10-esp)", s)
	}
	return s, nil
}

// parseLabel reads a name for a partition table or a LUKS header.
func parseLabel(s string) (string, error) { return s, gpt.CheckName(s) }

// parseCompression reads the name or the level of a compression.
func parseCompression(s string) (string, error) {
	other := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("+-_.", r)
	}
	if strings.ContainsFunc(s, other) || strings.HasPrefix(s, "-") && strings.TrimLeft(s[1:], "0123456789") != "" {
		return "", fmt.Errorf("%q is not a word", s)
	}
	return s, nil
}

func parsePriority(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 0, 32)
	if err != nil || strings.ContainsRune(s, '_') {
		return 0, fmt.Errorf("%q is not a number from -2147483648 to 2147483647", s)
	}
	return int32(n), nil
}

func parseWeight(s string) (uint32, error) {
	n, err := parseUnsigned(s)
	if err != nil || n > 1000000 {
		return 0, fmt.Errorf("%q is not a number from 0 to 1000000", s)
	}
	return uint32(n), nil
}

func parseFlags(s string) (uint64, error) {
	n, err := parseUnsigned(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of 64 bits (write it in decimal, after 0x in hexadecimal or after 0b in binary)", s)
	}
	return n, nil
}

// parseUnsigned reads a number with the prefixes that C knows.
func parseUnsigned(s string) (uint64, error) {
	if strings.ContainsRune(s, '_') {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(strings.TrimPrefix(s, "+"), 0, 64)
}

// sizeUnit is what sizes are rounded to, in bytes.
const sizeUnit = 4096

// parseMinSize reads a size that is rounded up to whole units.
func parseMinSize(s string) (*uint64, error) {
	n, err := parseBytes(s)
	if err != nil {
		return nil, err
	}
	if n > math.MaxInt64-sizeUnit {
		return nil, fmt.Errorf("%s is too large", s)
	}
	n = (n + sizeUnit - 1) / sizeUnit * sizeUnit
	return &n, nil
}

// parseMaxSize reads a size that is rounded down to whole units. One that no
// disk has is as good as the largest.
func parseMaxSize(s string) (*uint64, error) {
	n, err := parseBytes(s)
	if err != nil {
		return nil, err
	}
	n = min(n, math.MaxInt64) / sizeUnit * sizeUnit
	return &n, nil
}

// parseBlockSize reads a power of two from 512 to 4096.
func parseBlockSize(s string) (uint32, error) {
	n, err := parseBytes(s)
	if err != nil {
		return 0, err
	}
	if n < 512 || n > 4096 || n&(n-1) != 0 {
		return 0, fmt.Errorf("%s is none of 512, 1024, 2048, 4096", s)
	}
	return uint32(n), nil
}

// parseSectorSize reads such a power of two, or nothing.
func parseSectorSize(s string) (uint32, error) {
	if s == "" {
		return 0, nil
	}
	return parseBlockSize(s)
}

// sizeSuffixes are the units of sizes, powers of 1024, in the order in which
// they may follow each other.
const sizeSuffixes = "EPTGMKB"

// parseBytes reads a size such as 4096, 10M, 1.5G or "1G 512M".
func parseBytes(s string) (uint64, error) {
	bad := fmt.Errorf("%q is not a size in bytes (write one such as 4096, 512K or 10M)", s)
	rest, sum, last := strings.TrimPrefix(s, "+"), uint64(0), -1
	for {
		whole, after := leadingDigits(rest)
		if whole == "" {
			return 0, bad
		}
		fraction := ""
		if strings.HasPrefix(after, ".") {
			fraction, after = leadingDigits(after[1:])
		}
		after = strings.TrimLeft(after, blanks)
		unit, shift := len(sizeSuffixes), 0
		if after != "" && strings.IndexByte(sizeSuffixes, after[0]) >= 0 {
			unit = strings.IndexByte(sizeSuffixes, after[0])
			shift = 10 * (len(sizeSuffixes) - 1 - unit)
			after = strings.TrimLeft(after[1:], blanks)
		}
		if unit <= last {
			return 0, bad
		}
		n, err := scaled(whole, fraction, shift)
		if err != nil || sum+n < sum {
			return 0, fmt.Errorf("%s is too large", s)
		}
		sum, rest, last = sum+n, after, unit
		if rest == "" {
			return sum, nil
		}
	}
}

func leadingDigits(s string) (digits, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	return s[:len(s)-len(rest)], rest
}

// scaled is a decimal number times a power of two, rounded down.
func scaled(whole, fraction string, shift int) (uint64, error) {
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || n > math.MaxUint64>>shift {
		return 0, strconv.ErrRange
	}
	n <<= shift
	numerator, denominator := uint64(0), uint64(1)
	for _, c := range fraction[:min(len(fraction), 18)] {
		numerator, denominator = numerator*10+uint64(c-'0'), denominator*10
	}
	hi, lo := bits.Mul64(numerator, 1<<shift)
	part, _ := bits.Div64(hi, lo, denominator)
	if n+part < n {
		return 0, strconv.ErrRange
	}
	return n + part, nil
}
