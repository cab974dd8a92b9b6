package authenticode

import "encoding/binary"

// checksum takes the checksum that the headers of a PE file have: the sum of the
// 16-bit words of the file, with what overflows added at the low end, and of its
// size. Firmware does not look at it, other programs do.
type checksum struct {
	sum uint64 // of up to 2^30 words of 32 bits, which is what a file has at most
	at  int64  // the place in the file of what is written next
}

// Write takes the next bytes of the file. It does not fail.
func (c *checksum) Write(p []byte) (int, error) {
	n := len(p)
	if c.at%2 == 1 && n > 0 {
		c.sum += uint64(p[0]) << 8
		p = p[1:]
	}
	// In this kind of sum, a word of 32 bits counts like its two halves.
	for ; len(p) >= 4; p = p[4:] {
		c.sum += uint64(binary.LittleEndian.Uint32(p))
	}
	for i, b := range p {
		c.sum += uint64(b) << (8 * (i % 2))
	}
	c.at += int64(n)
	return n, nil
}

// value is the checksum of a file of size bytes, when all of it was written.
func (c *checksum) value(size int64) uint32 {
	sum := c.sum
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint32(sum) + uint32(size)
}
