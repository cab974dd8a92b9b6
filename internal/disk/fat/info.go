package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
)

// Info is what a file system says about itself.
type Info struct {
	// Bits is the type: 12, 16 or 32.
	Bits int
	// Label is the name; empty when there is none.
	Label string
	// VolumeID identifies the file system; zero when there is no identifier.
	VolumeID uint32
	// SectorSize and ClusterSize are in bytes.
	SectorSize, ClusterSize int64
	// Size is the size in bytes.
	Size int64
}

// errNotFAT is for what is something else, not a damaged file system.
var errNotFAT = errors.New("there is no FAT file system")

// ReadInfo reads what the file system in the first size bytes of r says about
// itself.
func ReadInfo(r io.ReaderAt, size int64) (*Info, error) {
	f, err := open(r, size)
	if err != nil {
		return nil, err
	}
	return &f.info, nil
}

// fileSystem is a file system that is being read.
type fileSystem struct {
	*volume
	r    io.ReaderAt
	info Info
}

// open reads the boot sector and the label.
func open(r io.ReaderAt, size int64) (*fileSystem, error) {
	b := make([]byte, 512)
	if size < int64(len(b)) {
		return nil, errNotFAT
	}
	if err := readAt(r, b, 0); err != nil {
		return nil, fmt.Errorf("reading the boot sector: %w", err)
	}
	v, err := decodeVolume(b)
	if err != nil {
		return nil, err
	}
	if v.total*v.sector > size {
		return nil, fmt.Errorf("the FAT file system has %d bytes, of which only %d are there", v.total*v.sector, size)
	}
	f := &fileSystem{v, r, Info{Bits: v.bits, SectorSize: v.sector, ClusterSize: v.clusterSize(), Size: v.total * v.sector}}
	extended := b[36:]
	if v.bits == 32 {
		extended = b[64:]
	}
	if extended[2]&^1 == extendedMark&^1 { // the other one has an identifier only
		f.info.VolumeID = binary.LittleEndian.Uint32(extended[3:])
	}
	if extended[2] == extendedMark {
		f.info.Label = trimLabel(extended[7:18])
	}
	name, err := f.readLabel()
	if err != nil {
		return nil, err
	}
	if name != "" { // the one that other programs show
		f.info.Label = name
	}
	return f, nil
}

// trimLabel decodes a label.
func trimLabel(b []byte) string {
	s := strings.TrimRight(decodeBytes(b), " \x00")
	if s == noName {
		return ""
	}
	return s
}

// decodeVolume decodes the boot sector as far as it says where things are.
func decodeVolume(b []byte) (*volume, error) {
	le := binary.LittleEndian
	v := &volume{
		sector:     int64(le.Uint16(b[11:])),
		perCluster: int64(b[13]),
		reserved:   int64(le.Uint16(b[14:])),
		copies:     int64(b[16]),
		total:      int64(le.Uint16(b[19:])),
		table:      int64(le.Uint16(b[22:])),
	}
	if le.Uint16(b[510:]) != signature || v.sector < 512 || v.sector > 4096 || bits.OnesCount64(uint64(v.sector)) != 1 ||
		bits.OnesCount64(uint64(v.perCluster)) != 1 || v.reserved == 0 || v.copies == 0 {
		return nil, errNotFAT
	}
	v.root = divideUp(int64(le.Uint16(b[17:]))*entrySize, v.sector)
	if v.total == 0 {
		v.total = int64(le.Uint32(b[32:]))
	}
	old := v.table != 0
	if !old {
		v.table = int64(le.Uint32(b[36:]))
		v.rootCluster = le.Uint32(b[44:])
	}
	v.clusters = (v.total - v.reserved - v.copies*v.table - v.root) / v.perCluster
	v.bits = 32
	if old {
		v.bits = 16
		if v.clusters <= maxClusters12 {
			v.bits = 12
		}
	}
	_, most := clusterRange(v.bits)
	switch {
	case v.clusters < 1:
		return nil, errors.New("the FAT file system has no clusters")
	case v.clusters > most:
		return nil, fmt.Errorf("the FAT%d file system has %d clusters, which are more than there can be", v.bits, v.clusters)
	case (v.clusters+firstCluster)*int64(v.bits) > v.table*v.sector*8:
		return nil, errors.New("the file allocation table is too small for the file system")
	case old != (v.root > 0): // those of a FAT32 have clusters
		return nil, errors.New("the root folder of the FAT file system has a wrong size")
	}
	return v, nil
}

// readAt fills b.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
