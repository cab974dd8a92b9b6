package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// spec is what the first process of a sandbox is told by its parent.
type spec struct {
	args, env    []string
	dir          string
	hostname     string
	ops          []Op
	flags        specFlags
	capabilities []int // to drop
	extraFiles   int
}

type specFlags uint8

const (
	flagNetwork specFlags = 1 << iota
	flagSuppressChown
	flagSuppressSync
	flagConfine
	flagTerminal // standard input is a terminal of the command's own
	flagDetached
)

// encode writes s as a sequence of unsigned varints and length-prefixed
// strings. The reader is always the same binary, so there is no version.
func (s *spec) encode() []byte {
	e := encoder{}
	e.strings(s.args)
	e.strings(s.env)
	e.string(s.dir)
	e.string(s.hostname)
	e.number(uint64(len(s.ops)))
	for _, op := range s.ops {
		e.op(op)
	}
	e.number(uint64(s.flags))
	e.number(uint64(len(s.capabilities)))
	for _, c := range s.capabilities {
		e.number(uint64(c))
	}
	e.number(uint64(s.extraFiles))
	return e
}

type encoder []byte

func (e *encoder) number(n uint64) { *e = binary.AppendUvarint(*e, n) }

func (e *encoder) string(s string) {
	e.number(uint64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) strings(list []string) {
	e.number(uint64(len(list)))
	for _, s := range list {
		e.string(s)
	}
}

func (e *encoder) bool(b bool) {
	n := uint64(0)
	if b {
		n = 1
	}
	e.number(n)
}

func (e *encoder) op(op Op) {
	e.number(uint64(op.kind))
	e.string(op.source)
	e.string(op.target)
	e.string(string(op.data))
	e.number(uint64(op.mode))
	e.number(uint64(op.size))
	e.strings(op.overlay.Lower)
	e.string(op.overlay.Upper)
	e.string(op.overlay.Work)
	for _, b := range []bool{op.readOnly, op.try, op.noFollow, op.inside, op.lasting, op.overlay.Ephemeral} {
		e.bool(b)
	}
}

// decodeSpec is the inverse of encode.
func decodeSpec(data []byte) (*spec, error) {
	d := decoder{data: data}
	s := &spec{args: d.strings(), env: d.strings(), dir: d.string(), hostname: d.string()}
	for range d.count() {
		s.ops = append(s.ops, d.op())
	}
	s.flags = specFlags(d.number())
	for range d.count() {
		s.capabilities = append(s.capabilities, int(d.number()))
	}
	s.extraFiles = int(d.number())
	if d.err == nil && len(d.data) != 0 {
		d.err = errors.New("bytes left over")
	}
	if d.err != nil {
		return nil, fmt.Errorf("reading the sandbox's instructions: %w", d.err)
	}
	return s, nil
}

// decoder reads what encoder wrote; after the first error it returns zeros.
type decoder struct {
	data []byte
	err  error
}

var errShort = errors.New("cut short")

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.data)
	if size <= 0 {
		d.data, d.err = nil, errShort
		return 0
	}
	d.data = d.data[size:]
	return n
}

// count reads a number of things that take at least a byte each, so that a
// wrong one cannot make anybody allocate more than the data justifies.
func (d *decoder) count() uint64 {
	n := d.number()
	if n > uint64(len(d.data)) {
		d.data, d.err = nil, errShort
		return 0
	}
	return n
}

func (d *decoder) string() string {
	n := d.count()
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

func (d *decoder) strings() []string {
	var list []string
	for range d.count() {
		list = append(list, d.string())
	}
	return list
}

func (d *decoder) bool() bool { return d.number() != 0 }

func (d *decoder) op() Op {
	op := Op{kind: opKind(d.number()), source: d.string(), target: d.string()}
	if data := d.string(); data != "" {
		op.data = []byte(data)
	}
	op.mode = uint32(d.number())
	op.size = int64(d.number())
	op.overlay = OverlayLayers{Lower: d.strings(), Upper: d.string(), Work: d.string()}
	op.readOnly, op.try, op.noFollow, op.inside = d.bool(), d.bool(), d.bool(), d.bool()
	op.lasting, op.overlay.Ephemeral = d.bool(), d.bool()
	return op
}
