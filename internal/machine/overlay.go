package machine

import (
	"encoding/binary"
	"io"
)

// The layout of an empty file in the format qcow2 (QEMU's docs/interop/qcow2.txt), version 3, in clusters of 64 KiB: the
// header, a table of reference counts, one block of these, and the table that leads to the data.
const (
	clusterBits    = 16
	cluster        = 1 << clusterBits
	overlayHeader  = 104         // bytes
	countBits      = 4           // reference counts of 1<<4 bits
	perTable       = cluster / 8 // entries of 8 bytes in one cluster
	perFirstEntry  = perTable * cluster
	countTableAt   = 1 * cluster
	countBlockAt   = 2 * cluster
	firstTableAt   = 3 * cluster
	overlayVersion = 3
)

// writeOverlay writes a qcow2 file for a disk of size bytes, in which nothing has been changed yet. What lies below it,
// whoever opens it has to know.
func writeOverlay(w io.WriterAt, size int64) error {
	entries := (size + perFirstEntry - 1) / perFirstEntry
	clusters := (max(entries, 1)*8 + cluster - 1) / cluster
	be := binary.BigEndian
	header := make([]byte, cluster)
	copy(header, "QFI\xfb")
	be.PutUint32(header[4:], overlayVersion)
	be.PutUint32(header[20:], clusterBits)
	be.PutUint64(header[24:], uint64(size))
	be.PutUint32(header[36:], uint32(max(entries, 1)))
	be.PutUint64(header[40:], firstTableAt)
	be.PutUint64(header[48:], countTableAt)
	be.PutUint32(header[56:], 1)
	be.PutUint32(header[96:], countBits)
	be.PutUint32(header[100:], overlayHeader)
	table := make([]byte, cluster)
	be.PutUint64(table, countBlockAt)
	counts := make([]byte, cluster)
	for i := range 3 + clusters {
		be.PutUint16(counts[2*i:], 1)
	}
	for at, data := range map[int64][]byte{0: header, countTableAt: table, countBlockAt: counts, firstTableAt: make([]byte, clusters*cluster)} {
		if _, err := w.WriteAt(data, at); err != nil {
			return err
		}
	}
	return nil
}
