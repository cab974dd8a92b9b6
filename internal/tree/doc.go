// Package tree works on an operating system tree, always inside its root: it
// copies, removes, walks and compares it, and no symbolic link of the tree
// ever leads it outside. What resolves a link does so as a process that is
// chrooted to the tree would, by openat2(2) with RESOLVE_IN_ROOT, for which
// Linux 5.6 is needed.
package tree
