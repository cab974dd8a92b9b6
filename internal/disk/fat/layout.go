package fat

import (
	"fmt"
	"math"
	"math/bits"
)

const (
	tables       = 2   // copies of the file allocation table
	firstCluster = 2   // clusters are counted from here
	rootEntries  = 512 // of a root folder that cannot grow
	reserved32   = 32  // sectors in front of the tables of a FAT32
	infoSector   = 1   // of a FAT32
	backupSector = 6   // of a FAT32; the sector of information follows

	// The most clusters of each type, by which readers tell them apart.
	maxClusters12 = 4084
	maxClusters16 = 65524
	maxClusters32 = 0x0ffffff5

	maxPerCluster = 128 // sectors
	step          = 16  // the smallest track; a size is a multiple of one

	// alignFrom is the number of sectors above which everything begins at a
	// multiple of the cluster size.
	alignFrom = 8192
)

// volume is where everything is in a file system. Sizes are in sectors unless
// they say otherwise.
type volume struct {
	bits int
	// sector is the size of a sector in bytes.
	sector int64
	// perCluster is the size of a cluster.
	perCluster int64
	// total is the whole size.
	total int64
	// reserved is what comes before the tables.
	reserved int64
	// copies is the number of tables.
	copies int64
	// table is the size of each of them.
	table int64
	// root is the size of the root folder, or zero when that has clusters.
	root int64
	// clusters is how many there are for data.
	clusters int64
	// rootCluster is where the root folder starts when it has clusters.
	rootCluster uint32
	// track and heads are the geometry of the disk, which means nothing.
	track, heads int64
}

// clusterSize is the size of a cluster in bytes.
func (v *volume) clusterSize() int64 { return v.perCluster * v.sector }

// tableOffset is where the n-th table starts, in bytes.
func (v *volume) tableOffset(n int64) int64 { return (v.reserved + n*v.table) * v.sector }

// rootOffset is where a root folder without clusters starts, in bytes.
func (v *volume) rootOffset() int64 { return v.tableOffset(v.copies) }

// dataOffset is where the first cluster starts, in bytes.
func (v *volume) dataOffset() int64 { return v.rootOffset() + v.root*v.sector }

// offset is where a cluster starts, in bytes.
func (v *volume) offset(cluster uint32) int64 {
	return v.dataOffset() + (int64(cluster)-firstCluster)*v.clusterSize()
}

// geometry is the made-up number of sectors a track and heads of a disk of so
// many sectors, from the SD card specification, part 2.
func geometry(sectors int64) (track, heads int64) {
	for _, g := range []struct{ most, track, heads int64 }{
		{4096, 16, 2}, {32768, 32, 2}, {65536, 32, 4}, {262144, 32, 8}, {524288, 32, 16},
		{1032192, 63, 16}, {2064384, 63, 32}, {4128768, 63, 64}, {8257536, 63, 128},
	} {
		if sectors <= g.most {
			return g.track, g.heads
		}
	}
	return 63, 255
}

// layOut lays out a file system of so many sectors, or returns nil when that
// leaves no clusters, or not as many as the type has. Entries is the number of
// entries of a root folder that cannot grow.
func layOut(kind int, sectors, sector, perCluster, entries int64) *volume {
	v := &volume{bits: kind, sector: sector, perCluster: perCluster, copies: tables}
	v.track, v.heads = geometry(sectors)
	v.total = sectors / v.track * v.track
	unit := int64(1)
	if v.total > alignFrom {
		unit = perCluster
	}
	v.reserved = roundUp(1, unit)
	v.root = roundUp(divideUp(entries*entrySize, sector), unit)
	if kind == 32 {
		v.reserved, v.root, v.rootCluster = roundUp(reserved32, unit), 0, firstCluster
	}
	area := v.total - v.reserved - v.root
	if area <= 0 || v.total > math.MaxUint32 || v.root*sector/entrySize > math.MaxUint16 {
		return nil
	}
	// A cluster takes kind/8 bytes in each table, and so do the two entries
	// before the first. Counted in half bytes.
	entry := int64(kind) / 4
	clusters := (2*area*sector + tables*firstCluster*entry) / (2*perCluster*sector + tables*entry)
	v.table = roundUp(divideUp(divideUp((clusters+firstCluster)*entry, 2), sector), unit)
	v.clusters = (area - tables*v.table) / perCluster
	least, most := clusterRange(kind)
	if v.clusters < least || v.clusters > most || (v.clusters+firstCluster)*entry > 2*v.table*sector {
		return nil
	}
	return v
}

// clusterRange is how many clusters a file system can have. That a FAT32 with
// few of them is one is seen by other means, too.
func clusterRange(kind int) (least, most int64) {
	switch kind {
	case 12:
		return 1, maxClusters12
	case 16:
		return maxClusters12 + 1, maxClusters16
	}
	return 1, maxClusters32
}

// format32 lays out a FAT32 with the clusters that mkfs.fat chooses.
func format32(sectors, sector int64) *volume {
	perCluster := int64(64)
	const mega = 2048 // sectors of 512 bytes, but others are counted so, too
	switch {
	case sectors <= 260*mega:
		perCluster = 1
	case sectors <= 8192*mega:
		perCluster = 8
	case sectors <= 16384*mega:
		perCluster = 16
	case sectors <= 32768*mega:
		perCluster = 32
	}
	return layOut(32, sectors, sector, perCluster, 0)
}

// formatOld lays out a FAT12 or FAT16, whichever of the types gives the smaller
// clusters, as mkfs.fat does.
func formatOld(sectors, sector, entries int64, types ...int) *volume {
	for perCluster := int64(4); perCluster <= maxPerCluster; perCluster *= 2 {
		for _, kind := range types {
			if v := layOut(kind, sectors, sector, perCluster, entries); v != nil {
				return v
			}
		}
	}
	return nil
}

// format is a way to lay out a file system.
type format struct {
	// layOut returns nil when the way does not go with so many sectors.
	layOut func(sectors int64) *volume
	// most is a number of sectors above which it does not go.
	most int64
}

// formats are the ways to lay out the file system, the best first. The third is
// for what fits into nothing else.
func (im *Image) formats() []format {
	sector := int64(im.options.SectorSize)
	entries := max(rootEntries, im.nodes[0].length/entrySize)
	small := format{func(sectors int64) *volume { return format32(sectors, sector) }, math.MaxUint32}
	proper := format{func(sectors int64) *volume {
		if v := format32(sectors, sector); v != nil && v.clusters > maxClusters16 {
			return v
		}
		return nil
	}, math.MaxUint32}
	old := func(types ...int) format {
		// The tables and the root folder take no more than a hundred of the
		// largest clusters.
		_, most := clusterRange(types[len(types)-1])
		return format{func(sectors int64) *volume { return formatOld(sectors, sector, entries, types...) }, (most + 100) * maxPerCluster}
	}
	switch im.options.Bits {
	case 12, 16:
		return []format{old(im.options.Bits)}
	case 32:
		return []format{small}
	}
	return []format{proper, old(12, 16), small}
}

// choose lays out a file system of a size in bytes that holds everything.
func (im *Image) choose(size int64) (*volume, error) {
	sectors := size / int64(im.options.SectorSize)
	for _, f := range im.formats() {
		if v := f.layOut(sectors); v != nil && im.missing(v) <= 0 {
			return v, nil
		}
	}
	return nil, fmt.Errorf("a %s file system of %d bytes cannot hold the files; %d are enough",
		typeName(im.options.Bits), size, im.size)
}

// smallest returns the smallest size in bytes with which the file system holds
// everything and has as many clusters as it must have. Zero means that there is
// none.
func (im *Image) smallest() int64 {
	best := int64(math.MaxUint32) + 1
	formats := im.formats()
	for _, f := range formats[:min(len(formats), 2)] {
		for sectors := int64(step); sectors < best && sectors <= f.most; {
			v := f.layOut(sectors)
			if v == nil {
				sectors += step
				continue
			}
			missing := im.missing(v)
			if missing <= 0 {
				best = sectors
				break
			}
			sectors = max(sectors+1, v.total+missing*v.perCluster)
		}
	}
	if best > math.MaxUint32 {
		return 0
	}
	return best * int64(im.options.SectorSize)
}

// missing is how many clusters the file system has too few.
func (im *Image) missing(v *volume) int64 {
	need := im.clusters[bits.TrailingZeros64(uint64(v.perCluster))]
	if v.root == 0 {
		need += im.nodes[0].clusters(v)
	}
	return need - v.clusters
}

// count computes how many clusters of each size everything but the root folder
// takes.
func (im *Image) count() {
	for i := range im.clusters {
		v := &volume{sector: int64(im.options.SectorSize), perCluster: 1 << i}
		for _, n := range im.nodes[1:] {
			im.clusters[i] += n.clusters(v)
		}
	}
}

func divideUp(n, by int64) int64 { return (n + by - 1) / by }
func roundUp(n, to int64) int64  { return divideUp(n, to) * to }
