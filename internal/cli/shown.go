package cli

import (
	"bytes"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// shown makes what is written fit for a terminal. Names and messages come from
// alerts, targets and people: an escape sequence in them could set the clipboard
// or the window's title, a carriage return hide a line, a bidirectional override
// show another text than there is. Such characters are written as \u001b, which
// JSON reads as the same; only the colours that grace itself uses pass.
type shown struct {
	w    io.Writer
	rest []byte // of a character that was cut by the end of a write
}

// Write meets io.Writer.
func (s *shown) Write(p []byte) (int, error) {
	data := append(s.rest, p...)
	s.rest = nil
	out := make([]byte, 0, len(data)+16)
	for i := 0; i < len(data); {
		if n := colourSequence(data[i:]); n > 0 {
			out = append(out, data[i:i+n]...)
			i += n
			continue
		}
		if !utf8.FullRune(data[i:]) && len(data)-i < utf8.UTFMax {
			s.rest = bytes.Clone(data[i:])
			break
		}
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\u%04x`, data[i]) // a C1 control, to a terminal that is not in UTF-8
		case r == '\n' || r == '\t' || !dangerous(r):
			out = append(out, data[i:i+n]...)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	if _, err := s.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// dangerous tells controls, and characters of formatting (bidirectional
// overrides, invisible ones) other than the joiners that some scripts and emoji
// need.
func dangerous(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d'
}

// colourSequence gives the length of a sequence of grace's own at the beginning,
// or 0.
func colourSequence(p []byte) int {
	for _, code := range []string{"0", "1", "2", "31", "32", "33", "34", "35", "36"} {
		if seq := "\x1b[" + code + "m"; bytes.HasPrefix(p, []byte(seq)) {
			return len(seq)
		}
	}
	return 0
}
