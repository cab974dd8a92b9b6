package fat

import (
	"encoding/binary"
	"math"
)

// noName is the label of file systems without one.
const noName = "NO NAME"

const (
	media         = 0xf8 // a hard disk
	drive         = 0x80
	extendedMark  = 0x29 // says that volume id, label and type follow
	signature     = 0xaa55
	leadSignature = 0x41615252
	infoSignature = 0x61417272
	tailSignature = 0xaa550000
)

// bootCode tells the firmware of a machine that starts it that there is nothing
// to start (interrupt 18h), and halts.
var bootCode = []byte{0xcd, 0x18, 0xf4, 0xeb, 0xfd}

// bootSector encodes the first sector.
func (im *Image) bootSector(v *volume) []byte {
	le := binary.LittleEndian
	b := make([]byte, v.sector)
	copy(b[3:], "mkosi   ")
	le.PutUint16(b[11:], uint16(v.sector))
	b[13] = byte(v.perCluster)
	le.PutUint16(b[14:], uint16(v.reserved))
	b[16] = byte(v.copies)
	le.PutUint16(b[17:], uint16(v.root*v.sector/entrySize))
	if v.total <= math.MaxUint16 {
		le.PutUint16(b[19:], uint16(v.total))
	} else {
		le.PutUint32(b[32:], uint32(v.total))
	}
	b[21] = media
	le.PutUint16(b[24:], uint16(v.track))
	le.PutUint16(b[26:], uint16(v.heads))
	extended := 36
	if v.bits == 32 {
		le.PutUint32(b[36:], uint32(v.table))
		le.PutUint32(b[44:], v.rootCluster)
		le.PutUint16(b[48:], infoSector)
		le.PutUint16(b[50:], backupSector)
		extended = 64
	} else {
		le.PutUint16(b[22:], uint16(v.table))
	}
	e := b[extended:]
	e[0], e[2] = drive, extendedMark
	le.PutUint32(e[3:], im.options.VolumeID)
	name := im.label
	if name == "" {
		name = noName
	}
	copy(e[7:26], "           "+typeName(v.bits)+"   ")
	copy(e[7:], name)
	copy(e[26:], bootCode)
	copy(b, []byte{0xeb, byte(extended + 26 - 2), 0x90}) // a jump over all this
	le.PutUint16(b[510:], signature)
	return b
}

// information encodes the sector that says how much is free.
func (v *volume) information(used int64) []byte {
	le := binary.LittleEndian
	b := make([]byte, v.sector)
	le.PutUint32(b, leadSignature)
	le.PutUint32(b[484:], infoSignature)
	le.PutUint32(b[488:], uint32(v.clusters-used))
	le.PutUint32(b[492:], uint32(firstCluster+used-1)) // the last one taken
	le.PutUint32(b[508:], tailSignature)
	return b
}
