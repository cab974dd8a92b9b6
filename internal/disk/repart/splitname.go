package repart

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// FinishedPartition is what SplitName= can refer to.
type FinishedPartition struct {
	Type PartitionType
	UUID uuid.UUID
	// Number counts from 1 in the partition table.
	Number int
}

// ExpandSplitName replaces the specifiers of SplitName=, whose default is %t;
// "-" gives nothing. As in systemd-repart(8), UUIDs come without dashes, and
// numbers count from zero.
func ExpandSplitName(s string, p FinishedPartition) (string, error) {
	if s == "" {
		s = "%t"
	}
	if s == "-" {
		return "", nil
	}
	name, err := replaceSpecifiers(s, func(c byte) (string, error) {
		switch c {
		case '%':
			return "%", nil
		case 't':
			return p.Type.Name, nil
		case 'T':
			return hex.EncodeToString(p.Type.UUID[:]), nil
		case 'U':
			return hex.EncodeToString(p.UUID[:]), nil
		case 'n':
			return strconv.Itoa(max(p.Number-1, 0)), nil
		}
		return "", fmt.Errorf("unknown specifier %%%c (write %%%% for a percent sign)", c)
	})
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(name, "/\x00\n") {
		return "", fmt.Errorf("%q is not part of a file name", name)
	}
	return name, nil
}
