package measure

import (
	"errors"
	"slices"
	"strings"

	"github.com/mkosi-go/mkosi/internal/distro"
)

// Mirror returns where this machine gets Debian from.
func Mirror() (string, error) {
	sources, err := distro.HostSources("/")
	if err != nil {
		return "", err
	}
	for _, s := range sources {
		if len(s.URIs) > 0 && slices.Contains(s.Components, "main") && strings.HasSuffix(strings.TrimRight(s.URIs[0], "/"), "/debian") {
			return s.URIs[0], nil
		}
	}
	return "", errors.New("this machine's apt has no Debian mirror configured")
}
