package layout

import "math/bits"

// distribute sets the sizes of the extents so that they fill span bytes as far
// as their bounds allow: what its share would make too small gets its lower
// bound, then what it would make too large its upper one, and the others share
// the rest.
func distribute(extents []*extent, span, grain int64) {
	weights, span0 := uint64(0), span
	for _, e := range extents {
		weights += uint64(e.weight)
		e.fixed = false
	}
	fix := func(e *extent, size int64) {
		e.size, e.fixed = size, true
		span -= roundUp(size, grain)
		weights -= uint64(e.weight)
	}
	for again := true; again; {
		again = false
		for _, e := range extents {
			if !e.fixed && share(span, e.weight, weights) < e.min {
				fix(e, e.min)
				again = true
			}
		}
	}
	for again := true; again; {
		again = false
		for _, e := range extents {
			if !e.fixed && share(span, e.weight, weights) > e.max {
				fix(e, e.max)
				again = true
			}
		}
	}
	for _, e := range extents {
		if !e.fixed {
			n := roundDown(share(span, e.weight, weights), grain)
			fix(e, min(max(n, e.min), e.max))
		}
	}
	leftOver(extents, span0, grain)
}

// leftOver gives what is left of span to the first that may be larger.
func leftOver(extents []*extent, span, grain int64) {
	for _, e := range extents {
		span -= roundUp(e.size, grain)
	}
	for i := 0; i < len(extents) && span > 0; i += 2 {
		e := extents[i]
		n := min(roundDown(e.size+span, grain), e.max)
		if n > e.size {
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
