package ext4

import (
	"fmt"
	"strconv"
	"strings"
)

// settings is what options for mke2fs change.
type settings struct {
	geometry
	// inodes says that the options decide how many there are.
	inodes bool
	// features are added to, or with a caret in front taken from, ours.
	features []string
	// extended are options of -E, others the rest of the command line.
	extended, others []string
}

// parseOptions reads options of mke2fs(8). It refuses those that would make a
// file system which cannot be filled, or which are not known.
func parseOptions(argv []string) (settings, error) {
	s := settings{geometry: geometry{BlockSize, inodeSize}}
	for len(argv) > 0 {
		flag, value := argv[0], ""
		argv = argv[1:]
		if len(flag) < 2 || flag[0] != '-' {
			return s, fmt.Errorf("options for mke2fs: %q is not an option", flag)
		}
		if flag, value = flag[:2], flag[2:]; value == "" && !lone[flag] {
			if len(argv) == 0 {
				return s, fmt.Errorf("options for mke2fs: %s needs a value", flag)
			}
			value, argv = argv[0], argv[1:]
		}
		if err := s.add(flag, value); err != nil {
			return s, fmt.Errorf("options for mke2fs: %w", err)
		}
	}
	return s, nil
}

// lone are options without a value.
var lone = map[string]bool{"-j": true, "-r": true, "-v": true}

// add takes one option into account.
func (s *settings) add(flag, value string) error {
	switch flag {
	case "-b":
		return s.setSize(flag, value, &s.blockSize, 1024, 2048, 4096)
	case "-I":
		return s.setSize(flag, value, &s.inodeSize, 256, 512, 1024)
	case "-O":
		s.features = append(s.features, strings.FieldsFunc(value, isComma)...)
	case "-E":
		for _, option := range strings.FieldsFunc(value, isComma) {
			name, _, _ := strings.Cut(option, "=")
			if !extendedOptions[name] {
				return fmt.Errorf("the extended option %s is not supported", name)
			}
			s.extended = append(s.extended, option)
		}
	case "-i", "-N":
		s.inodes = true
		s.others = append(s.others, flag, value)
	case "-e", "-g", "-G", "-J", "-L", "-m", "-M", "-o", "-T":
		s.others = append(s.others, flag, value)
	case "-j", "-v": // a journal there is, and nobody listens
	default:
		return fmt.Errorf("%s is not supported", flag)
	}
	return nil
}

func isComma(r rune) bool { return r == ',' }

// extendedOptions are those of -E that change nothing about how files are
// written.
var extendedOptions = map[string]bool{
	"assume_storage_prezeroed": true, "discard": true, "nodiscard": true, "encoding": true, "encoding_flags": true,
	"lazy_itable_init": true, "lazy_journal_init": true, "no_copy_xattrs": true, "num_backup_sb": true,
	"orphan_file_size": true, "packed_meta_blocks": true, "resize": true, "root_owner": true, "root_perms": true,
	"stride": true, "stripe-width": true, "stripe_width": true, "test_fs": true,
}

// setSize takes one of the sizes that are supported.
func (s *settings) setSize(flag, value string, size *int64, allowed ...int64) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err == nil {
		for _, a := range allowed {
			if n == a {
				*size = n
				return nil
			}
		}
	}
	return fmt.Errorf("%s %s is not supported, but %v", flag, value, allowed)
}
