// Package disk turns partition definitions and an OS tree into one disk image:
// repart.d(5) files become a layout, and file systems, verity hashes,
// signatures and the partition table are written in place.
package disk
