// Package host knows facts about the machine that the program runs on.
package host

// Facts is what the configuration and the build may ask about the machine.
// Tests make up any machine they like; [Detect] looks at this one.
type Facts struct {
	// Distribution is ID= of os-release(5), such as "debian".
	Distribution string
	// DistributionLike is ID_LIKE= of os-release(5), split at spaces.
	DistributionLike []string
	// VersionID is VERSION_ID= of os-release(5), "" for rolling releases.
	VersionID string
	// Codename is VERSION_CODENAME= of os-release(5), such as "trixie".
	Codename string
	// Architecture is in systemd's spelling, such as "x86-64" or "arm64".
	Architecture string
	// CPUs is the number of processors that may be used.
	CPUs int
	// SystemdVersion returns the version of the installed systemd, such as
	// "257", or "". It may run a program, so it is asked only when needed;
	// nil stands for no systemd.
	SystemdVersion func() string
	// CACertificates is the file of the trusted certificate authorities, or "".
	CACertificates string
	// UEFI reports whether the machine was started by UEFI firmware.
	UEFI bool
	// Environment holds the environment variables.
	Environment map[string]string
	// Home is the user's home directory, or "".
	Home string
	// HomeOf returns the home directory of the user of that name, or ""; nil
	// knows nobody.
	HomeOf func(name string) string
	// User is the user's name, or "".
	User string
	// UID and GID are the user's number and the number of its group.
	UID, GID int
}
