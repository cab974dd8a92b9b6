// Package repart reads partition definitions: the files of repart.d(5) and the
// partition types of the Discoverable Partitions Specification (UAPI.2). It
// says what is wanted; it knows nothing of disks.
package repart
