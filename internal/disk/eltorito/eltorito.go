// Package eltorito makes a disk image one that firmware also starts from an
// optical disc: in front of the first partition it writes the descriptors of an
// empty ISO 9660 file system (ECMA-119) and a boot catalogue, as the "El Torito"
// Bootable CD-ROM Format Specification 1.0 describes it, that leads to the EFI
// system partition. Everything is where systemd-repart has it.
package eltorito

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// SectorSize is that of optical discs, in bytes, whatever the disk image has.
const SectorSize = 2048

// The sectors that are written.
const (
	primarySector    = 16
	bootSector       = 17
	terminatorSector = 18
	catalogueSector  = 19
	rootSector       = 20
	endSector        = 21
)

// End is the offset in bytes at which the first partition may start.
const End = endSector * SectorSize

// The lengths of identifiers, and of a directory record without a name.
const (
	systemLength    = 32
	volumeLength    = 32
	publisherLength = 128
	recordLength    = 34
)

const (
	standardID = "CD001"
	bootID     = "EL TORITO SPECIFICATION"
)

// Options describe what is written.
type Options struct {
	// System, Volume and Publisher are identifiers by which programs tell what
	// is on the disc, at most 32, 32 and 128 letters, digits and others of the
	// a-characters of ECMA-119 long; small letters are accepted, too.
	System, Volume, Publisher string
	// Application says which program made this; the same characters, at most
	// 128.
	Application string
	// Time is when the image was made; the years from 1900 to 2155 can be
	// stored.
	Time time.Time
	// ESPOffset is where the EFI system partition starts in the image, in
	// bytes.
	ESPOffset int64
	// FirstOffset is where the first partition starts, in bytes.
	FirstOffset int64
}

// Check returns an error when an identifier is not one, or when the rest of the
// options cannot be.
func Check(o Options) error {
	if err := CheckIdentifiers(o.System, o.Volume, o.Publisher); err != nil {
		return err
	}
	if err := checkIdentifier("application", o.Application, publisherLength); err != nil {
		return err
	}
	if year := o.Time.UTC().Year(); year < 1900 || year > 1900+math.MaxUint8 {
		return fmt.Errorf("an ISO 9660 file system cannot be of the year %d", year)
	}
	if o.FirstOffset < End {
		return fmt.Errorf("the boot catalogue needs the first %d bytes of the disk, but the first partition starts at %d", End, o.FirstOffset)
	}
	if o.ESPOffset < o.FirstOffset || o.ESPOffset%SectorSize != 0 || o.ESPOffset/SectorSize > math.MaxUint32 {
		return fmt.Errorf("the EFI system partition starts at %d bytes, which is no sector of %d bytes that a boot catalogue can lead to", o.ESPOffset, SectorSize)
	}
	return nil
}

// CheckIdentifiers returns an error when one of the three identifiers is too
// long or has a character that none can have. Empty ones are good.
func CheckIdentifiers(system, volume, publisher string) error {
	for _, id := range []struct {
		name, value string
		limit       int
	}{{"system", system, systemLength}, {"volume", volume, volumeLength}, {"publisher", publisher, publisherLength}} {
		if err := checkIdentifier(id.name, id.value, id.limit); err != nil {
			return err
		}
	}
	return nil
}

func checkIdentifier(name, value string, limit int) error {
	if len(value) > limit {
		return fmt.Errorf("the %s identifier %q is longer than %d characters", name, value, limit)
	}
	for _, r := range value {
		letter := r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune(` !"%&'()*+,-./:;<=>?_`, r) {
			return fmt.Errorf("the %s identifier %q has the character %q, which none can have", name, value, r)
		}
	}
	return nil
}

// Write writes the descriptors and the catalogue to the start of w, an image
// that has to be zero there between its partition table and its first
// partition.
func Write(w io.WriterAt, o Options) error {
	if err := Check(o); err != nil {
		return err
	}
	b := make([]byte, (endSector-primarySector)*SectorSize)
	at := func(sector int) []byte { return b[(sector-primarySector)*SectorSize:][:SectorSize] }
	o.putPrimary(at(primarySector))
	putBoot(at(bootSector))
	putHeader(at(terminatorSector), 255)
	o.putCatalogue(at(catalogueSector))
	o.putRoot(at(rootSector))
	if _, err := w.WriteAt(b, primarySector*SectorSize); err != nil {
		return fmt.Errorf("writing the boot catalogue: %w", err)
	}
	return nil
}

// putHeader puts what all descriptors start with.
func putHeader(b []byte, kind byte) {
	b[0] = kind
	copy(b[1:], standardID)
	b[6] = 1 // version
}

// putPrimary puts the primary volume descriptor.
func (o *Options) putPrimary(b []byte) {
	putHeader(b, 1)
	putText(b[8:][:systemLength], o.System)
	putText(b[40:][:volumeLength], o.Volume)
	put32(b[80:], endSector) // size
	put16(b[120:], 1)        // discs in the set
	put16(b[124:], 1)        // number of this one
	put16(b[128:], SectorSize)
	copy(b[156:], o.record(0))
	putText(b[190:][:128], "") // set
	putText(b[318:][:publisherLength], o.Publisher)
	putText(b[446:][:128], "") // preparer
	putText(b[574:][:publisherLength], o.Application)
	putText(b[702:][:3*37], "") // files with a copyright and so on
	digits := o.Time.UTC().Format("20060102150405") + "00"
	copy(b[813:], digits) // created
	copy(b[830:], digits) // modified
	none := strings.Repeat("0", len(digits))
	copy(b[847:], none) // expires
	copy(b[864:], none) // effective
	b[881] = 1          // version
}

// putBoot puts the boot record.
func putBoot(b []byte) {
	putHeader(b, 0)
	copy(b[7:], bootID)
	binary.LittleEndian.PutUint32(b[71:], catalogueSector)
}

// putCatalogue puts the boot catalogue: an entry to tell that it is one, the
// one for EFI, and the end.
func (o *Options) putCatalogue(b []byte) {
	le := binary.LittleEndian
	b[0], b[1] = 1, 0xef // for EFI
	b[30], b[31] = 0x55, 0xaa
	le.PutUint16(b[28:], -sum(b[:32]))
	b[32] = 0x88 // can be started
	le.PutUint32(b[40:], uint32(o.ESPOffset/SectorSize))
	b[64] = 0x91 // no entries for another platform
}

// sum adds up 16 bit words; those of the first entry of a catalogue are zero
// together.
func sum(b []byte) uint16 {
	s := uint16(0)
	for i := 0; i < len(b); i += 2 {
		s += binary.LittleEndian.Uint16(b[i:])
	}
	return s
}

// putRoot puts the root folder, in which there are only itself and its parent.
func (o *Options) putRoot(b []byte) {
	copy(b, o.record(0))
	copy(b[recordLength:], o.record(1))
}

// record is the directory record of the root folder, with the name that stands
// for the folder itself (0) or its parent (1).
func (o *Options) record(name byte) []byte {
	b := make([]byte, recordLength)
	b[0] = recordLength
	put32(b[2:], rootSector)
	put32(b[10:], 2*recordLength)
	t := o.Time.UTC()
	copy(b[18:], []byte{byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second())})
	b[25] = 2 // a folder
	put16(b[28:], 1)
	b[32], b[33] = 1, name
	return b
}

// putText fills b with text and spaces.
func putText(b []byte, text string) {
	copy(b, text+strings.Repeat(" ", len(b)-len(text)))
}

// put16 and put32 put a number in both byte orders.
func put16(b []byte, n uint16) {
	binary.LittleEndian.PutUint16(b, n)
	binary.BigEndian.PutUint16(b[2:], n)
}

func put32(b []byte, n uint32) {
	binary.LittleEndian.PutUint32(b, n)
	binary.BigEndian.PutUint32(b[4:], n)
}
