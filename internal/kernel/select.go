package kernel

// Selection is what of one kernel's modules, and of the firmware, is wanted or
// needed. Paths are relative to the root of the tree, sorted, each one once.
type Selection struct {
	// Modules are the module files.
	Modules []string
	// Firmware are files below usr/lib/firmware, and the links over which they
	// are found.
	Firmware []string
	// Missing says in words which modules are needed but not there.
	Missing []string
}
