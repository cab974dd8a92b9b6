// Package configtest holds what the tests of the configuration language
// share: the machine that the reference saw, and the pairs of a
// configuration and what it means that were observed on the reference.
package configtest

import "github.com/mkosi-go/mkosi/internal/host"

// Host is the machine that the expected values were observed on: Debian
// forky in the reference's root, as root.
func Host() host.Facts {
	return host.Facts{
		Distribution: "debian", Codename: "forky", Architecture: "x86-64", CPUs: 2,
		SystemdVersion: func() string { return "262" },
		CACertificates: "/etc/ssl/certs/ca-certificates.crt",
		Environment:    map[string]string{"HOME": "/root"}, Home: "/root", User: "root",
		HomeOf: func(name string) string { return map[string]string{"root": "/root", "nobody": "/nonexistent"}[name] },
	}
}

// RandomSeed is the random seed that tests of the package draw.
const RandomSeed = "78787878-7878-4878-b878-787878787878"
