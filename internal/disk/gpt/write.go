package gpt

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"unicode/utf16"

	"github.com/google/uuid"
)

// WriteTo writes the protective boot record, the table and its backup.
func (t *Table) WriteTo(w io.WriterAt) error {
	if err := t.check(); err != nil {
		return err
	}
	entries := t.entries()
	tail := t.Sectors - t.TailSectors()
	parts := []struct {
		sector uint64
		data   []byte
	}{
		{0, t.bootRecord()},
		{1, t.header(entries, 1, t.Sectors-1, t.entriesAt())},
		{t.entriesAt(), entries},
		{tail, entries},
		{t.Sectors - 1, t.header(entries, t.Sectors-1, 1, tail)},
	}
	for _, p := range parts {
		if _, err := w.WriteAt(p.data, int64(p.sector)*int64(t.SectorSize)); err != nil {
			return fmt.Errorf("writing partition table: %w", err)
		}
	}
	return nil
}

// bootRecord claims the whole disk for one partition, so that programs which
// do not know the table leave it alone.
func (t *Table) bootRecord() []byte {
	b := make([]byte, t.SectorSize)
	entry := b[recordEntries:]
	copy(entry, []byte{0, 0x00, 0x02, 0x00, typeProtective, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(entry[8:], 1)
	binary.LittleEndian.PutUint32(entry[12:], uint32(min(t.Sectors-1, math.MaxUint32)))
	b[510], b[511] = 0x55, 0xaa
	return b
}

func (t *Table) header(entries []byte, own, other, entryStart uint64) []byte {
	b := make([]byte, t.SectorSize)
	le := binary.LittleEndian
	copy(b, signature)
	le.PutUint32(b[8:], revision)
	le.PutUint32(b[12:], headerSize)
	le.PutUint64(b[24:], own)
	le.PutUint64(b[32:], other)
	le.PutUint64(b[40:], t.FirstUsable)
	le.PutUint64(b[48:], t.LastUsable)
	putGUID(b[56:], t.UUID)
	le.PutUint64(b[72:], entryStart)
	le.PutUint32(b[80:], uint32(cmp.Or(t.Entries, defaultEntries)))
	le.PutUint32(b[84:], uint32(cmp.Or(t.EntrySize, defaultEntrySize)))
	le.PutUint32(b[88:], crc32.ChecksumIEEE(entries[:t.entriesSize()]))
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:headerSize]))
	return b
}

func (t *Table) entries() []byte {
	b := make([]byte, entrySectors(t.entriesSize(), t.SectorSize)*uint64(t.SectorSize))
	le := binary.LittleEndian
	for _, p := range t.numbered() {
		e := b[(p.Number-1)*cmp.Or(t.EntrySize, defaultEntrySize):]
		putGUID(e, p.Type)
		putGUID(e[16:], p.UUID)
		le.PutUint64(e[32:], p.First)
		le.PutUint64(e[40:], p.Last)
		le.PutUint64(e[48:], p.Flags)
		for j, u := range utf16.Encode([]rune(p.Name)) {
			le.PutUint16(e[56+2*j:], u)
		}
	}
	return b
}

// putGUID stores a UUID in the mixed byte order of the specification.
func putGUID(b []byte, id uuid.UUID) {
	le, be := binary.LittleEndian, binary.BigEndian
	le.PutUint32(b, be.Uint32(id[0:]))
	le.PutUint16(b[4:], be.Uint16(id[4:]))
	le.PutUint16(b[6:], be.Uint16(id[6:]))
	copy(b[8:16], id[8:])
}
