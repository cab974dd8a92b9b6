package erofs

import "io"

// lz4Reader decompresses an LZ4 block. Unlike decoders of whole blocks it can
// stop anywhere, as a file may use only the beginning of a unit, and takes the
// same memory however much comes out.
type lz4Reader struct {
	in []byte
	// out holds the last bytes of the output, of which those from next on were
	// not read yet.
	out  []byte
	next int
	// literals and match are what is left of the current sequence.
	literals, match int
	distance        int
	nibble          byte
	state           lz4State
}

// lz4State is what comes next in a block.
type lz4State byte

const (
	lz4Token lz4State = iota
	lz4Literals
	lz4Offset
	lz4Match
)

// lz4Keep is how much of the output is kept at least, lz4Room how much there is
// room for.
const (
	lz4Keep = lz4Distance
	lz4Room = 4 * lz4Distance
)

func (r *lz4Reader) Read(p []byte) (int, error) {
	for r.next == len(r.out) {
		if err := r.step(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.out[r.next:])
	r.next += n
	return n, nil
}

// step decodes until there is output, which was all read before.
func (r *lz4Reader) step() error {
	if len(r.out) > lz4Room-lz4Keep {
		keep := copy(r.out, r.out[len(r.out)-lz4Keep:])
		r.out, r.next = r.out[:keep], keep
	}
	switch r.state {
	case lz4Token:
		if len(r.in) == 0 {
			return io.EOF
		}
		token := r.in[0]
		r.in, r.nibble, r.state = r.in[1:], token&15, lz4Literals
		return r.length(&r.literals, int(token>>4))
	case lz4Literals:
		n := min(r.literals, lz4Keep, len(r.in))
		if n < min(r.literals, lz4Keep) {
			return io.ErrUnexpectedEOF
		}
		r.out, r.in = append(r.out, r.in[:n]...), r.in[n:]
		if r.literals -= n; r.literals == 0 {
			r.state = lz4Offset
		}
	case lz4Offset:
		// The last sequence has no match.
		if len(r.in) == 0 {
			return io.EOF
		}
		if len(r.in) < 2 {
			return io.ErrUnexpectedEOF
		}
		r.distance, r.in, r.state = int(r.in[0])|int(r.in[1])<<8, r.in[2:], lz4Match
		if r.distance == 0 || r.distance > len(r.out) {
			return corrupt("an LZ4 match %d bytes back, after %d", r.distance, len(r.out))
		}
		if err := r.length(&r.match, int(r.nibble)); err != nil {
			return err
		}
		r.match += 4
	case lz4Match:
		n := min(r.match, lz4Keep)
		for left := n; left > 0; {
			// A match may overlap with itself.
			from := len(r.out) - r.distance
			part := min(left, r.distance)
			r.out = append(r.out, r.out[from:from+part]...)
			left -= part
		}
		if r.match -= n; r.match == 0 {
			r.state = lz4Token
		}
	}
	return nil
}

// length adds the bytes that continue a length to it.
func (r *lz4Reader) length(n *int, start int) error {
	*n = start
	if start < 15 {
		return nil
	}
	for {
		if len(r.in) == 0 {
			return io.ErrUnexpectedEOF
		}
		b := r.in[0]
		r.in = r.in[1:]
		*n += int(b)
		if b < 255 {
			return nil
		}
	}
}
