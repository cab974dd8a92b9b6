package gpt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"

	"github.com/google/uuid"
)

const (
	signature = "EFI PART"
	revision  = 0x00010000
)

// ErrNoTable says that a disk has neither a partition table nor what is left of
// one.
var ErrNoTable = errors.New("there is no GUID partition table")

// errNoHeader is what is wrong with a copy of which there is not even a header.
var errNoHeader = errors.New("there is no header")

// Found is what Read finds on a disk.
type Found struct {
	// Table is the primary table, or the backup if only that is good.
	Table *Table
	// Primary and Backup say what is wrong with the two copies; nil means that
	// the copy is good. One of them always is. A backup that is good but says
	// something else than the primary, or lies elsewhere than at the end of the
	// disk, has an error here that wraps ErrStale.
	Primary, Backup error
	// BackupSector is where the backup's header is, or was looked for.
	BackupSector uint64
	// BootRecord is what precedes the table.
	BootRecord BootRecord
}

// ErrStale is in Found.Backup when the backup is good but not the one that
// belongs to the primary table and the size of the disk.
var ErrStale = errors.New("the backup is out of date")

// Read reads the partition table of a disk of size bytes. With a sectorSize of
// zero it finds the size of the sectors out. It returns an error that wraps
// ErrNoTable when there is none, and one that says what is wrong with both
// copies when neither is good: checksums, bounds, overlaps.
func Read(r io.ReaderAt, size int64, sectorSize int) (*Found, error) {
	sizes := []int{512, 1024, 2048, 4096}
	if sectorSize != 0 {
		if err := CheckSectorSize(sectorSize); err != nil {
			return nil, err
		}
		sizes = []int{sectorSize}
	}
	var damaged error
	var found *Found
	for _, s := range sizes {
		d := &disk{r, s, uint64(max(size, 0)) / uint64(s)}
		f, err := d.read()
		switch {
		case err == nil && f.Primary == nil:
			return f, nil
		case err == nil && found == nil:
			found = f
		case err != nil && !errors.Is(err, ErrNoTable):
			damaged = errors.Join(damaged, err)
		}
	}
	if found != nil {
		return found, nil
	}
	if damaged != nil {
		return nil, damaged
	}
	return nil, ErrNoTable
}

// disk is what a table is read from.
type disk struct {
	r          io.ReaderAt
	sectorSize int
	sectors    uint64
}

// readCopy is one copy of the table.
type readCopy struct {
	table   *Table
	other   uint64
	entries uint32
}

// read reads both copies, assuming the size of the sectors.
func (d *disk) read() (*Found, error) {
	if d.sectors < 2 {
		return nil, ErrNoTable
	}
	f := &Found{BackupSector: d.sectors - 1}
	primary, err := d.readCopy(1)
	f.Primary = err
	if err == nil {
		f.BackupSector = primary.other
	}
	backup, err := d.readCopy(f.BackupSector)
	f.Backup = err
	switch {
	case f.Primary == nil:
		f.Table = primary.table
	case f.Backup == nil:
		f.Table = backup.table
	case errors.Is(f.Primary, errNoHeader) && errors.Is(f.Backup, errNoHeader):
		return nil, ErrNoTable
	default:
		return nil, fmt.Errorf("the partition table is damaged, with sectors of %d bytes: primary: %w; backup: %w", d.sectorSize, f.Primary, f.Backup)
	}
	if f.Primary == nil && f.Backup == nil {
		f.Backup = d.compare(primary, backup, f.BackupSector)
	}
	record := make([]byte, recordSize)
	if err := d.readAt(record, 0); err != nil {
		return nil, err
	}
	f.BootRecord = parseBootRecord(record)
	return f, nil
}

// compare returns an error when two good copies do not belong together.
func (d *disk) compare(primary, backup *readCopy, at uint64) error {
	p, b := primary.table, backup.table
	switch {
	case backup.other != 1 || p.UUID != b.UUID || p.FirstUsable != b.FirstUsable || p.LastUsable != b.LastUsable ||
		p.Entries != b.Entries || p.EntrySize != b.EntrySize || primary.entries != backup.entries:
		return fmt.Errorf("%w: it differs from the primary table", ErrStale)
	case at != d.sectors-1:
		return fmt.Errorf("%w: it is at sector %d, the disk ends with sector %d", ErrStale, at, d.sectors-1)
	}
	return nil
}

// readAt fills b from a sector.
func (d *disk) readAt(b []byte, sector uint64) error {
	if n := entrySectors(len(b), d.sectorSize); sector >= d.sectors || n > d.sectors-sector {
		return fmt.Errorf("sectors from %d are beyond the end of the disk", sector)
	}
	if n, err := d.r.ReadAt(b, int64(sector)*int64(d.sectorSize)); n < len(b) {
		return fmt.Errorf("reading sector %d: %w", sector, err)
	}
	return nil
}

// readCopy reads the copy of the table whose header is in a sector.
func (d *disk) readCopy(sector uint64) (*readCopy, error) {
	b := make([]byte, d.sectorSize)
	if err := d.readAt(b, sector); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if string(b[:8]) != signature {
		return nil, errNoHeader
	}
	if v := le.Uint32(b[8:]); v != revision {
		return nil, fmt.Errorf("version %#x of the format is not supported", v)
	}
	size := le.Uint32(b[12:])
	if size < headerSize || uint64(size) > uint64(d.sectorSize) {
		return nil, fmt.Errorf("the header has a size of %d bytes", size)
	}
	sum := le.Uint32(b[16:])
	clear(b[16:20])
	if got := crc32.ChecksumIEEE(b[:size]); got != sum {
		return nil, fmt.Errorf("the header's checksum is %#x, it says %#x", got, sum)
	}
	if own := le.Uint64(b[24:]); own != sector {
		return nil, fmt.Errorf("the header in sector %d says that it is in sector %d", sector, own)
	}
	c := &readCopy{other: le.Uint64(b[32:]), entries: le.Uint32(b[88:])}
	c.table = &Table{
		UUID:        getGUID(b[56:]),
		SectorSize:  d.sectorSize,
		Sectors:     d.sectors,
		FirstUsable: le.Uint64(b[40:]),
		LastUsable:  le.Uint64(b[48:]),
		Entries:     int(min(le.Uint32(b[80:]), maxEntriesSize)),
		EntrySize:   int(min(le.Uint32(b[84:]), maxEntriesSize)),
	}
	if err := d.readEntries(c, le.Uint64(b[72:])); err != nil {
		return nil, err
	}
	if sector == 1 {
		c.table.EntriesAt = le.Uint64(b[72:])
	}
	return c, nil
}

// readEntries reads and checks the entries of a copy, which begin at a sector.
func (d *disk) readEntries(c *readCopy, at uint64) error {
	t := c.table
	if t.Entries == 0 || t.EntrySize == 0 {
		return errors.New("the table has no entries")
	}
	if err := t.checkEntries(); err != nil {
		return err
	}
	n := entrySectors(t.entriesSize(), d.sectorSize)
	if t.FirstUsable < 2 || t.FirstUsable > t.LastUsable || t.LastUsable >= d.sectors {
		return fmt.Errorf("the usable sectors %d to %d are not on the disk of %d", t.FirstUsable, t.LastUsable, d.sectors)
	}
	if at < 2 || at > d.sectors || at <= t.LastUsable && at+n > t.FirstUsable {
		return fmt.Errorf("the entries are in sector %d", at)
	}
	b := make([]byte, t.entriesSize())
	if err := d.readAt(b, at); err != nil {
		return err
	}
	if got := crc32.ChecksumIEEE(b); got != c.entries {
		return fmt.Errorf("the entries' checksum is %#x, the header says %#x", got, c.entries)
	}
	le := binary.LittleEndian
	for i := range t.Entries {
		e := b[i*t.EntrySize:]
		if id := getGUID(e); id != uuid.Nil {
			t.Partitions = append(t.Partitions, Partition{
				Number: i + 1, Type: id, UUID: getGUID(e[16:]),
				First: le.Uint64(e[32:]), Last: le.Uint64(e[40:]), Flags: le.Uint64(e[48:]), Name: getName(e[56:]),
			})
		}
	}
	return t.checkPartitions()
}

// getName reads the name of a partition. What is not UTF-16 becomes U+FFFD.
func getName(b []byte) string {
	var units []uint16
	for i := range nameUnits {
		u := binary.LittleEndian.Uint16(b[2*i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// getGUID reads a UUID in the mixed byte order of the specification.
func getGUID(b []byte) (id uuid.UUID) {
	le, be := binary.LittleEndian, binary.BigEndian
	be.PutUint32(id[0:], le.Uint32(b))
	be.PutUint16(id[4:], le.Uint16(b[4:]))
	be.PutUint16(id[6:], le.Uint16(b[6:]))
	copy(id[8:], b[8:16])
	return id
}
