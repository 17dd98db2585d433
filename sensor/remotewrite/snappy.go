package remotewrite

import (
	"encoding/binary"
	"fmt"
)

// fault says where a snappy block goes wrong, by walking its elements. It is
// for the answer only; decoding is the library's.
func fault(packed []byte) string {
	length, pos := binary.Uvarint(packed)
	if pos <= 0 {
		return "it does not begin with a length"
	}
	made := uint64(0)
	for pos < len(packed) {
		at, tag := pos, packed[pos]
		var n, extra uint64 // of the element, and bytes of its head after the tag
		offset := uint64(0)
		number := func(bytes uint64) (v uint64, ok bool) {
			if uint64(len(packed)-at-1) < bytes {
				return 0, false
			}
			for i := range bytes {
				v |= uint64(packed[at+1+int(i)]) << (8 * i)
			}
			return v, true
		}
		v, ok := uint64(0), true
		switch tag & 3 {
		case 0:
			if n = uint64(tag >> 2); n >= 60 {
				extra = n - 59
				n, ok = number(extra)
			}
			n++
		case 1:
			extra = 1
			v, ok = number(1)
			n, offset = uint64(tag>>2&7)+4, uint64(tag>>5)<<8|v
		case 2, 3:
			extra = uint64(tag&3-1) * 2
			offset, ok = number(extra)
			n = uint64(tag>>2) + 1
		}
		literal := tag&3 == 0
		switch {
		case !ok, literal && uint64(len(packed)-at)-1-extra < n:
			return fmt.Sprintf("it ends within the element at byte %d, after %d of %d bytes", at, made, length)
		case !literal && (offset == 0 || offset > made):
			return fmt.Sprintf("the element at byte %d copies from before the beginning", at)
		case made+n > length:
			return fmt.Sprintf("the element at byte %d makes it longer than the %d bytes it says", at, length)
		}
		made += n
		pos = at + 1 + int(extra)
		if literal {
			pos += int(n)
		}
	}
	return fmt.Sprintf("it ends after %d of %d bytes", made, length)
}
