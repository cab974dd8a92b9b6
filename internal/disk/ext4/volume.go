package ext4

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	superOffset = 1024
	superSize   = 1024
	// descSize is the size of a group descriptor with the feature 64bit; it is
	// half of that without.
	descSize = 64
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// checksum continues a CRC-32C in the form that ext4 keeps it in, without the
// inversions at both ends.
func checksum(sum uint32, b []byte) uint32 {
	return ^crc32.Update(^sum, castagnoli, b)
}

func checksum32(sum, n uint32) uint32 {
	return checksum(sum, le.AppendUint32(nil, n))
}

// device is what holds a file system: a file, or memory in tests.
type device interface {
	io.ReaderAt
	io.WriterAt
}

// volume is an open file system with what changes as it is filled.
type volume struct {
	geometry
	f      device
	offset int64
	super  []byte
	seed   uint32
	blocks int64
	// firstBlock is where the first group begins: behind the superblock if
	// that has a block of its own.
	firstBlock                     int64
	blocksPerGroup, inodesPerGroup int64
	descSize                       int64
	// checksums says that metadata has them, and that what is not in use need
	// not be initialized.
	checksums bool
	groups    []*group

	// nextBlock and nextInode are where to look for free ones.
	nextBlock, nextInode int64
	// table is the inode table of the group with a number that inodes were
	// last written to.
	table       []byte
	tableNumber int64
}

// geometry is what the space that something takes depends on, in bytes.
type geometry struct{ blockSize, inodeSize int64 }

func (v *volume) readAt(p []byte, off int64) error {
	_, err := v.f.ReadAt(p, v.offset+off)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (v *volume) writeAt(p []byte, off int64) error {
	_, err := v.f.WriteAt(p, v.offset+off)
	return err
}

// openVolume reads the superblock and the groups of an empty file system.
func openVolume(f device, offset, size int64) (*volume, error) {
	v := &volume{f: f, offset: offset, super: make([]byte, superSize), nextInode: firstInode, tableNumber: -1}
	if err := v.readAt(v.super, superOffset); err != nil {
		return nil, err
	}
	s := v.super
	if le.Uint16(s[56:]) != 0xef53 || le.Uint32(s[76:]) == 0 || le.Uint32(s[24:]) > 6 {
		return nil, fmt.Errorf("there is no ext4 file system")
	}
	if err := checkFeatures(s); err != nil {
		return nil, err
	}
	v.blockSize, v.inodeSize = 1024<<le.Uint32(s[24:]), int64(le.Uint16(s[88:]))
	if v.inodeSize < inodeSize || v.inodeSize > v.blockSize || v.inodeSize&(v.inodeSize-1) != 0 {
		return nil, fmt.Errorf("inodes of %d bytes are not supported, but of 256 and more", v.inodeSize)
	}
	v.descSize = descSize / 2
	if le.Uint32(s[96:])&incompat64bit != 0 {
		if v.descSize = int64(le.Uint16(s[254:])); v.descSize != descSize {
			return nil, fmt.Errorf("group descriptors of %d bytes", v.descSize)
		}
	}
	v.firstBlock = int64(le.Uint32(s[20:]))
	v.blocks = int64(le.Uint32(s[4:]))
	if v.descSize == descSize {
		v.blocks |= int64(le.Uint32(s[336:])) << 32
	}
	v.blocksPerGroup, v.inodesPerGroup = int64(le.Uint32(s[32:])), int64(le.Uint32(s[40:]))
	if v.blocks <= v.firstBlock || v.blocks > size/v.blockSize || v.firstBlock > 1 ||
		v.blocksPerGroup <= 0 || v.blocksPerGroup > 8*v.blockSize || v.blocksPerGroup%8 != 0 ||
		v.inodesPerGroup <= 0 || v.inodesPerGroup > 8*v.blockSize || v.inodesPerGroup%8 != 0 {
		return nil, fmt.Errorf("%d blocks in groups of %d with %d inodes", v.blocks, v.blocksPerGroup, v.inodesPerGroup)
	}
	v.nextBlock = v.firstBlock
	v.checksums = le.Uint32(s[100:])&roCompatChecksum != 0
	v.seed = checksum(^uint32(0), s[104:120])
	if le.Uint32(s[96:])&incompatSeed != 0 {
		v.seed = le.Uint32(s[624:])
	}
	return v, v.readGroups()
}

func (v *volume) readGroups() error {
	count := (v.blocks - v.firstBlock + v.blocksPerGroup - 1) / v.blocksPerGroup
	if count > v.blocks/2 {
		return fmt.Errorf("%d groups in %d blocks", count, v.blocks)
	}
	descs := make([]byte, count*v.descSize)
	if err := v.readAt(descs, v.descriptors()); err != nil {
		return err
	}
	for i := range count {
		v.groups = append(v.groups, &group{desc: descs[i*v.descSize : (i+1)*v.descSize]})
	}
	for i, g := range v.groups {
		for _, field := range []int{0, 4, 8} {
			if n := g.at(field); n <= 0 || n >= v.blocks {
				return fmt.Errorf("group %d has metadata in block %d of %d", i, n, v.blocks)
			}
		}
		g.blockBitmap = make([]byte, v.blockSize)
		g.inodeBitmap = make([]byte, v.blockSize)
		if g.flags()&blockUninit != 0 {
			v.initBlockBitmap(int64(i))
		} else if err := v.readAt(g.blockBitmap, g.at(0)*v.blockSize); err != nil {
			return err
		}
		if g.flags()&inodeUninit != 0 {
			fill(g.inodeBitmap, v.inodesPerGroup, 8*v.blockSize)
		} else if err := v.readAt(g.inodeBitmap, g.at(4)*v.blockSize); err != nil {
			return err
		}
	}
	return nil
}

// descriptors is where the group descriptors are, in bytes.
func (v *volume) descriptors() int64 { return (v.firstBlock + 1) * v.blockSize }

// extent is a run of blocks of the volume.
type extent struct{ start, count int64 }

// allocate takes free blocks, in as few runs as there are.
func (v *volume) allocate(count int64) ([]extent, error) {
	var runs []extent
	for count > 0 {
		number := (v.nextBlock - v.firstBlock) / v.blocksPerGroup
		if number >= int64(len(v.groups)) {
			return nil, fmt.Errorf("the file system is full")
		}
		g, first := v.groups[number], v.firstBlock+number*v.blocksPerGroup
		bit, ok := clearBit(g.blockBitmap, v.nextBlock-first, v.blocksPerGroup)
		if !ok {
			v.nextBlock = first + v.blocksPerGroup
			continue
		}
		end := bit
		for end < v.blocksPerGroup && end-bit < count && g.blockBitmap[end/8]&(1<<(end%8)) == 0 {
			end++
		}
		fill(g.blockBitmap, bit, end)
		n := end - bit
		g.setCount(12, 44, g.count(12, 44)-n)
		le.PutUint16(g.desc[18:], g.flags()&^blockUninit)
		runs = appendRun(runs, extent{first + bit, n})
		v.nextBlock = first + end
		count -= n
	}
	return runs, nil
}

// appendRun adds a run, as a part of the last one where they touch.
func appendRun(runs []extent, e extent) []extent {
	if n := len(runs); n > 0 && runs[n-1].start+runs[n-1].count == e.start {
		runs[n-1].count += e.count
		return runs
	}
	return append(runs, e)
}

// allocateInode takes the next free inode.
func (v *volume) allocateInode() (uint32, error) {
	for {
		index := v.nextInode - 1
		number := index / v.inodesPerGroup
		if number >= int64(len(v.groups)) {
			return 0, fmt.Errorf("the file system has no inode left")
		}
		g := v.groups[number]
		bit, ok := clearBit(g.inodeBitmap, index%v.inodesPerGroup, v.inodesPerGroup)
		if !ok {
			v.nextInode = (number+1)*v.inodesPerGroup + 1
			continue
		}
		fill(g.inodeBitmap, bit, bit+1)
		g.setCount(14, 46, g.count(14, 46)-1)
		if v.checksums {
			g.setCount(28, 50, min(g.count(28, 50), v.inodesPerGroup-bit-1))
		}
		le.PutUint16(g.desc[18:], g.flags()&^inodeUninit)
		v.nextInode = number*v.inodesPerGroup + bit + 2
		return uint32(v.nextInode - 1), nil
	}
}

// inode returns the bytes of an inode, to be changed in place before the next
// call.
func (v *volume) inode(number uint32) ([]byte, error) {
	index := int64(number) - 1
	if group := index / v.inodesPerGroup; group != v.tableNumber {
		if err := v.writeTable(); err != nil {
			return nil, err
		}
		v.table = make([]byte, v.inodesPerGroup*v.inodeSize)
		if err := v.readAt(v.table, v.groups[group].at(8)*v.blockSize); err != nil {
			return nil, err
		}
		v.tableNumber = group
	}
	i := index % v.inodesPerGroup * v.inodeSize
	return v.table[i : i+v.inodeSize], nil
}

// writeTable writes the inodes that were last changed.
func (v *volume) writeTable() error {
	if v.tableNumber < 0 {
		return nil
	}
	g := v.groups[v.tableNumber]
	used := v.inodesPerGroup * v.inodeSize
	if v.checksums { // what lies behind the last inode in use is zero already
		used -= g.count(28, 50) * v.inodeSize
	}
	return v.writeAt(v.table[:used], g.at(8)*v.blockSize)
}

// addDir counts a folder in the group of its inode.
func (v *volume) addDir(number uint32) {
	g := v.groups[(int64(number)-1)/v.inodesPerGroup]
	g.setCount(16, 48, g.count(16, 48)+1)
}

// flush writes inodes, bitmaps, descriptors and the superblock.
func (v *volume) flush() error {
	if err := v.writeTable(); err != nil {
		return err
	}
	freeBlocks, freeInodes := int64(0), int64(0)
	descs := make([]byte, 0, int64(len(v.groups))*v.descSize)
	for i, g := range v.groups {
		if err := v.flushGroup(uint32(i), g); err != nil {
			return err
		}
		descs = append(descs, g.desc...)
		freeBlocks += g.count(12, 44)
		freeInodes += g.count(14, 46)
	}
	if err := v.writeAt(descs, v.descriptors()); err != nil {
		return err
	}
	s := v.super
	le.PutUint32(s[12:], uint32(freeBlocks))
	if v.descSize == descSize {
		le.PutUint32(s[344:], uint32(freeBlocks>>32))
	}
	le.PutUint32(s[16:], uint32(freeInodes))
	if v.checksums {
		le.PutUint32(s[1020:], checksum(^uint32(0), s[:1020]))
	}
	return v.writeAt(s, superOffset)
}

func (v *volume) flushGroup(number uint32, g *group) error {
	if g.flags()&blockUninit == 0 {
		if v.checksums {
			g.put16(24, 56, checksum(v.seed, g.blockBitmap[:v.blocksPerGroup/8]))
		}
		if err := v.writeAt(g.blockBitmap, g.at(0)*v.blockSize); err != nil {
			return err
		}
	}
	if g.flags()&inodeUninit == 0 {
		if v.checksums {
			g.put16(26, 58, checksum(v.seed, g.inodeBitmap[:v.inodesPerGroup/8]))
		}
		if err := v.writeAt(g.inodeBitmap, g.at(4)*v.blockSize); err != nil {
			return err
		}
	}
	if !v.checksums {
		return nil
	}
	// The image is a new file, so the tables are zero without anybody writing them.
	le.PutUint16(g.desc[18:], g.flags()|tableZeroed)
	le.PutUint16(g.desc[30:], 0)
	le.PutUint16(g.desc[30:], uint16(checksum(checksum32(v.seed, number), g.desc)))
	return nil
}
