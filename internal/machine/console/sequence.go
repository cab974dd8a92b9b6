package console

import "bytes"

// Control characters, ECMA-48.
const (
	bell   = 0x07
	escape = 0x1b
)

// maxSequence bounds a control sequence. Those that terminals know are shorter; the rest of a longer one counts as text.
const maxSequence = 256

// splitter tells text from control sequences in a stream, whose pieces may end anywhere.
type splitter struct {
	sequence []byte // of what has begun, from the escape character on
	inString bool   // it is a string such as a window title, which has an end of its own
}

// split calls text for text, in as few pieces as there are, and control for each whole sequence.
func (s *splitter) split(data []byte, text, control func([]byte)) {
	for len(data) > 0 {
		if s.sequence == nil {
			i := bytes.IndexByte(data, escape)
			if i < 0 {
				i = len(data)
			}
			if i > 0 {
				text(data[:i])
			}
			if data = data[i:]; len(data) > 0 {
				s.sequence, s.inString = append(s.sequence, escape), false
				data = data[1:]
			}
			continue
		}
		s.sequence = append(s.sequence, data[0])
		data = data[1:]
		if s.ended() || len(s.sequence) == maxSequence {
			sequence := s.sequence
			s.sequence = nil
			control(sequence)
		}
	}
}

// ended reports whether the sequence is complete with its last byte.
func (s *splitter) ended() bool {
	last := s.sequence[len(s.sequence)-1]
	if len(s.sequence) == 2 {
		switch last {
		case ']', 'P', 'X', '^', '_': // OSC, DCS, SOS, PM, APC
			s.inString = true
			return false
		case '[': // CSI
			return false
		}
		return last < 0x20 || last > 0x2f // else an intermediate byte
	}
	switch {
	case s.inString:
		return last == bell || last == '\\' && s.sequence[len(s.sequence)-2] == escape
	case s.sequence[1] == '[':
		return last < 0x20 || last >= 0x40
	}
	return last < 0x20 || last > 0x2f
}
