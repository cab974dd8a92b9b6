package fat

import (
	"encoding/binary"
	"time"
)

const (
	entrySize     = 32
	unitsPerEntry = 13      // of a long name
	maxEntries    = 1 << 16 // in a folder
)

// The attributes of directory entries.
const (
	attrReadOnly = 1 << 0
	attrHidden   = 1 << 1
	attrSystem   = 1 << 2
	attrLabel    = 1 << 3
	attrDir      = 1 << 4
	attrArchive  = 1 << 5
	attrLong     = attrReadOnly | attrHidden | attrSystem | attrLabel
	attrMask     = 1<<6 - 1
)

// longUnits are where the characters of a long name are in an entry.
var longUnits = [unitsPerEntry]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}

// lastEntry marks the entry with the end of a long name, which comes first.
const lastEntry = 0x40

// encodeDir encodes a folder. First returns where a node starts.
func (im *Image) encodeDir(dir *node, first func(*node) uint32) []byte {
	b := make([]byte, 0, dir.length)
	switch {
	case dir.parent != nil:
		b = appendEntry(b, makeShort(".", ""), attrDir, dir.entry.Mtime, first(dir), 0)
		up := first(dir.parent)
		if dir.parent.parent == nil {
			up = 0 // which stands for the root, wherever it is
		}
		b = appendEntry(b, makeShort("..", ""), attrDir, dir.parent.entry.Mtime, up, 0)
	case im.label != "":
		s := makeShort("", "")
		copy(s.text[:], im.label)
		b = appendEntry(b, s, attrLabel, im.options.BuildTime, 0, 0)
	}
	for _, n := range dir.children {
		b = appendLong(b, n)
		attr, size := byte(attrDir), uint32(0)
		if !n.entry.IsDir() {
			attr, size = attrArchive, uint32(n.length)
		}
		b = appendEntry(b, n.short, attr, n.entry.Mtime, first(n), size)
	}
	return b
}

// appendEntry appends the entry with the short name. All times are the same.
func appendEntry(b []byte, s shortName, attr byte, mtime int64, cluster, size uint32) []byte {
	le := binary.LittleEndian
	day, clock := encodeTime(mtime)
	b = append(b, s.text[:]...)
	b = append(b, attr, s.lower, 0)
	b = le.AppendUint16(b, clock)
	b = le.AppendUint16(b, day)
	b = le.AppendUint16(b, day) // of the last access
	b = le.AppendUint16(b, uint16(cluster>>16))
	b = le.AppendUint16(b, clock)
	b = le.AppendUint16(b, day)
	b = le.AppendUint16(b, uint16(cluster))
	return le.AppendUint32(b, size)
}

// appendLong appends the entries of the long name, if there is one: its end
// first. Behind the name comes a zero, if there is room, and then ones.
func appendLong(b []byte, n *node) []byte {
	count := len(n.long)
	for number := int(divideUp(int64(count), unitsPerEntry)); number > 0; number-- {
		var e [entrySize]byte
		e[0] = byte(number)
		if number*unitsPerEntry >= count {
			e[0] |= lastEntry
		}
		e[11] = attrLong
		e[13] = n.short.checksum()
		for i, at := range longUnits {
			unit := uint16(0xffff)
			switch at := (number-1)*unitsPerEntry + i; {
			case at < count:
				unit = n.long[at]
			case at == count:
				unit = 0
			}
			binary.LittleEndian.PutUint16(e[at:], unit)
		}
		b = append(b, e[:]...)
	}
	return b
}

// The times that can be stored, every second one in between.
var (
	firstTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
)

// encodeTime encodes a time, which is in UTC, or the nearest that there is.
func encodeTime(seconds int64) (day, clock uint16) {
	t := time.Unix(min(max(seconds, firstTime.Unix()), lastTime.Unix()), 0).UTC()
	day = uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day())
	clock = uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
	return day, clock
}

// decodeTime is the reverse of encodeTime. What is no time is the first one.
func decodeTime(day, clock uint16) int64 {
	if day>>5&0xf == 0 || day&0x1f == 0 {
		return firstTime.Unix()
	}
	return time.Date(1980+int(day>>9), time.Month(day>>5&0xf), int(day&0x1f),
		int(clock>>11), int(clock>>5&0x3f), int(clock&0x1f)*2, 0, time.UTC).Unix()
}
