package repart

import (
	"fmt"
	"strings"
)

// osReleaseFields are the specifiers that stand for a field of os-release(5).
var osReleaseFields = map[byte]string{
	'A': "IMAGE_VERSION",
	'B': "BUILD_ID",
	'M': "IMAGE_ID",
	'o': "ID",
	'w': "VERSION_ID",
	'W': "VARIANT_ID",
}

// machineFacts are the specifiers that stand for something of the running
// system. An image must not depend on the machine that it is made on.
var machineFacts = map[byte]string{
	'b': "boot ID",
	'H': "host name",
	'l': "host name",
	'q': "host name",
	'v': "kernel release",
}

// expand replaces the specifiers of a value, see repart.d(5). A percent sign
// before anything but a letter or a digit stands for itself.
func (o *Options) expand(s string) (string, error) {
	return replaceSpecifiers(s, o.specifier)
}

// specifier returns what a single one stands for.
func (o *Options) specifier(c byte) (string, error) {
	field, inOSRelease := osReleaseFields[c]
	fact, ofMachine := machineFacts[c]
	switch {
	case c == '%':
		return "%", nil
	case c == 'a':
		return o.Architecture, nil
	case c == 'T':
		return "/tmp", nil
	case c == 'V':
		return "/var/tmp", nil
	case c == 'm' && o.MachineID == "":
		return "", fmt.Errorf("specifier %%m needs a machine ID, which the image does not have")
	case c == 'm':
		return o.MachineID, nil
	case inOSRelease && o.OSRelease == nil:
		return "", fmt.Errorf("specifier %%%c needs %s= of os-release, which is not known", c, field)
	case inOSRelease:
		return o.OSRelease(field), nil
	case ofMachine:
		return "", fmt.Errorf("specifier %%%c, the %s, would make the image depend on the machine that builds it (write out what it should be)", c, fact)
	}
	return "", fmt.Errorf("unknown specifier %%%c (write %%%% for a percent sign)", c)
}

// expandSplitName replaces what holds for the whole image; what depends on the
// partition is left for ExpandSplitName.
func (o *Options) expandSplitName(s string) (string, error) {
	return replaceSpecifiers(s, func(c byte) (string, error) {
		if strings.IndexByte("%tTUn", c) >= 0 {
			return "%" + string(c), nil
		}
		text, err := o.specifier(c)
		return strings.ReplaceAll(text, "%", "%%"), err
	})
}

// replaceSpecifiers replaces each percent sign and the letter or digit, or the
// percent sign, behind it.
func replaceSpecifiers(s string, replace func(c byte) (string, error)) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "%")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if after == "" || !isSpecifier(after[0]) {
			b.WriteByte('%')
			s = after
			continue
		}
		text, err := replace(after[0])
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		s = after[1:]
	}
}

func isSpecifier(c byte) bool {
	return c == '%' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
