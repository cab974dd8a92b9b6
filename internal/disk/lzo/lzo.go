// Package lzo unpacks LZO1X streams, in which btrfs and squashfs may hold
// files, as the kernel's Documentation/staging/lzo.rst describes them.
package lzo

import "errors"

// ErrCorrupt says that a stream is damaged, or longer than there is room for.
var ErrCorrupt = errors.New("damaged LZO data")

// Decompress unpacks src into room and returns the part that it filled.
func Decompress(src, room []byte) ([]byte, error) {
	d := decoder{src: src, out: room}
	for {
		end, err := d.step()
		if err != nil {
			return nil, err
		}
		if end {
			return room[:d.n], nil
		}
	}
}

// literalRun is the state behind a run of four or more literals.
const literalRun = 4

type decoder struct {
	src   []byte
	out   []byte
	n     int // bytes of out that are there
	state int // literals behind the last match, or literalRun
	begun bool
}

// step reads one instruction; it returns true at the end of the stream.
func (d *decoder) step() (end bool, err error) {
	t, err := d.next()
	if err != nil {
		return false, err
	}
	if !d.begun {
		d.begun = true
		if t > 17 {
			return false, d.literals(t-17, true)
		}
	}
	var distance, length, after int
	switch {
	case t >= 64:
		b, err := d.next()
		if err != nil {
			return false, err
		}
		length, distance, after = t>>5+1, t>>2&7+b<<3+1, t&3
	case t >= 32:
		if length, err = d.extended(t&31, 31); err != nil {
			return false, err
		}
		pair, err := d.pair()
		if err != nil {
			return false, err
		}
		length, distance, after = length+2, pair>>2+1, pair&3
	case t >= 16:
		if length, err = d.extended(t&7, 7); err != nil {
			return false, err
		}
		pair, err := d.pair()
		if err != nil {
			return false, err
		}
		length, distance, after = length+2, t&8<<11+pair>>2, pair&3
		if distance == 0 {
			return true, nil
		}
		distance += 16384
	case d.state == 0:
		if length, err = d.extended(t, 15); err != nil {
			return false, err
		}
		return false, d.literals(length+3, true)
	default:
		b, err := d.next()
		if err != nil {
			return false, err
		}
		length, distance, after = 2, t>>2+b<<2+1, t&3
		if d.state == literalRun {
			length, distance = 3, distance+2048
		}
	}
	if err := d.match(distance, length); err != nil {
		return false, err
	}
	return false, d.literals(after, false)
}

// next reads a byte.
func (d *decoder) next() (int, error) {
	if len(d.src) == 0 {
		return 0, ErrCorrupt
	}
	b := int(d.src[0])
	d.src = d.src[1:]
	return b, nil
}

// pair reads two bytes, the lower one first.
func (d *decoder) pair() (int, error) {
	if len(d.src) < 2 {
		return 0, ErrCorrupt
	}
	n := int(d.src[0]) | int(d.src[1])<<8
	d.src = d.src[2:]
	return n, nil
}

// extended reads the rest of a length that does not fit the instruction: zero
// bytes count 255 each, and the byte behind them is added to base.
func (d *decoder) extended(length, base int) (int, error) {
	if length > 0 {
		return length, nil
	}
	for {
		b, err := d.next()
		switch {
		case err != nil:
			return 0, err
		case b > 0:
			return length + base + b, nil
		}
		if length += 255; length > len(d.out) {
			return 0, ErrCorrupt
		}
	}
}

// literals copies bytes of the stream. A run is told from those that follow a
// match.
func (d *decoder) literals(count int, run bool) error {
	if count > len(d.src) || count > len(d.out)-d.n {
		return ErrCorrupt
	}
	d.n += copy(d.out[d.n:], d.src[:count])
	d.src = d.src[count:]
	d.state = count
	if run && count >= literalRun {
		d.state = literalRun
	}
	return nil
}

// match copies what is there already; source and target may overlap.
func (d *decoder) match(distance, length int) error {
	if distance > d.n || length > len(d.out)-d.n {
		return ErrCorrupt
	}
	for range length {
		d.out[d.n] = d.out[d.n-distance]
		d.n++
	}
	return nil
}
