package erofs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// ErrNeedsProgram is wrapped by the errors of ParseOptions about options that
// mkfs.erofs may have, but this package does not.
var ErrNeedsProgram = errors.New("it needs the program mkfs.erofs")

// ParseOptions adds what options of mkfs.erofs(1) say to o. Those that only
// say how mkfs.erofs works and what it prints are ignored.
func ParseOptions(o Options, args []string) (Options, error) {
	p := optionParser{o: o}
	for len(args) > 0 {
		name, value, rest := splitOption(args)
		args = rest
		if err := p.set(name, value); err != nil {
			return o, fmt.Errorf("mkfs.erofs option %s: %w", name, err)
		}
	}
	if p.time {
		p.o.FixedTime = !p.buildOnly
	}
	return p.o, nil
}

// shortValues are the options of one letter that have a value.
const shortValues = "bdxzCELTUm"

// splitOption takes an option off args. A value follows in the same argument,
// or, after options of one letter, in the next one.
func splitOption(args []string) (name, value string, rest []string) {
	first, rest := args[0], args[1:]
	if strings.HasPrefix(first, "--") || len(first) < 2 || first[0] != '-' {
		name, value, _ = strings.Cut(first, "=")
		return name, value, rest
	}
	name, value = first[:2], first[2:]
	if value == "" && strings.Contains(shortValues, name[1:]) && len(rest) > 0 {
		value, rest = rest[0], rest[1:]
	}
	return name, value, rest
}

// optionParser collects options.
type optionParser struct {
	o Options
	// time says that there was a time, buildOnly that it is not for files.
	time, buildOnly bool
}

func (p *optionParser) set(name, value string) (err error) {
	o := &p.o
	switch name {
	case "-d", "--quiet", "--workers", "--async-queue-limit", "--preserve-mtime":
	case "-b":
		if value != strconv.Itoa(BlockSize) {
			return fmt.Errorf("blocks of %s bytes: %w", value, ErrNeedsProgram)
		}
	case "-z":
		return p.compression(value)
	case "-C":
		size, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is no number of bytes", value)
		}
		if size < minChunkSize || size > maxChunkSize || size%BlockSize != 0 {
			return fmt.Errorf("units of %d bytes: %w", size, ErrNeedsProgram)
		}
		o.ChunkSize = size
	case "-E":
		for _, feature := range strings.Split(value, ",") {
			if feature != "fragments" {
				return fmt.Errorf("%s: %w", feature, ErrNeedsProgram)
			}
			o.Fragments = true
		}
	case "-L":
		o.Label = value
	case "-T":
		o.BuildTime, err = strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no number of seconds", value)
		}
		p.time = true
	case "--all-time":
		p.buildOnly = false
	case "--mkfs-time":
		p.buildOnly = true
	case "-U":
		return p.uuid(value)
	case "--all-root":
		o.AllRoot = true
	default:
		return ErrNeedsProgram
	}
	return nil
}

// compression parses an algorithm with its level.
func (p *optionParser) compression(value string) error {
	name, settings, leveled := strings.Cut(value, ",")
	c := Compression(name)
	if c != LZ4 && c != Zstd || strings.Contains(value, ":") {
		return fmt.Errorf("%s: %w", value, ErrNeedsProgram)
	}
	p.o.Compression, p.o.Level = c, 0
	if !leveled {
		return nil
	}
	number := strings.TrimPrefix(settings, "level=")
	if strings.Contains(number, "=") || strings.Contains(number, ",") {
		return fmt.Errorf("%s: %w", settings, ErrNeedsProgram)
	}
	level, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("%q is no compression level", number)
	}
	if c == LZ4 {
		return errors.New("lz4 has no levels")
	}
	p.o.Level = level
	return nil
}

// uuid parses the identifier of the file system.
func (p *optionParser) uuid(value string) (err error) {
	switch value {
	case "clear":
		p.o.UUID = uuid.Nil
	case "random":
		return fmt.Errorf("a random UUID: %w", ErrNeedsProgram)
	default:
		if p.o.UUID, err = uuid.Parse(value); err != nil {
			return fmt.Errorf("%q is no UUID", value)
		}
	}
	return nil
}
