package layout

import "math/bits"

// distribute sets the sizes of partitions and the paddings behind them, in
// turn, so that they fill span bytes as far as their bounds allow: what its
// share would make too small gets its lower bound, then what it would make too
// large its upper one, and the others share the rest.
func distribute(extents []*extent, span, grain int64) {
	weights := uint64(0)
	for _, e := range extents {
		weights += uint64(e.weight)
		e.fixed = false
	}
	fix := func(e *extent, size int64) {
		e.size, e.fixed = size, true
		span -= roundUp(size, grain)
		weights -= uint64(e.weight)
	}
	fixAll := func(wrong func(e *extent, share int64) bool, bound func(*extent) int64) {
		for again := true; again; {
			again = false
			for _, e := range extents {
				if !e.fixed && wrong(e, share(span, e.weight, weights)) {
					fix(e, bound(e))
					again = true
				}
			}
		}
	}
	fixAll(func(e *extent, share int64) bool { return share < e.min }, func(e *extent) int64 { return e.min })
	fixAll(func(e *extent, share int64) bool { return share > e.max }, func(e *extent) int64 { return e.max })
	for _, e := range extents {
		if !e.fixed {
			n := roundDown(share(span, e.weight, weights), grain)
			fix(e, min(max(n, e.min), e.max))
		}
	}
	handOut(extents, span, grain)
}

// handOut gives what is left of the span to the first partitions that may be
// larger.
func handOut(extents []*extent, span, grain int64) {
	for i := 0; i < len(extents) && span > 0; i += 2 {
		e := extents[i]
		if n := min(roundDown(e.size+span, grain), e.max); n > e.size {
			span -= n - e.size
			e.size = n
		}
	}
}

// share is the part of span that a weight among weights stands for.
func share(span int64, weight uint32, weights uint64) int64 {
	if weights == 0 || weight == 0 || span <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(span), uint64(weight))
	q, _ := bits.Div64(hi, lo, weights)
	return int64(q)
}
