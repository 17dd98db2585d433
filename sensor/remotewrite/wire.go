package remotewrite

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Wire types of protobuf.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

var (
	errTruncated = errors.New("it ends within a field")
	errWire      = errors.New("a field has a wire type that is not known")
	errNumber    = errors.New("a field has no number")
	errType      = errors.New("a field has another type than the message gives it")
)

// place is an error with where in the decoded body it was found.
type place struct {
	at   int
	what string
	err  error
}

func (p *place) Error() string { return fmt.Sprintf("byte %d, in %s: %v", p.at, p.what, p.err) }
func (p *place) Unwrap() error { return p.err }

// reader goes through the fields of one message without a copy. Its offset is
// into the whole body, so that an error says where.
type reader struct {
	body     []byte
	pos, end int
}

func (r *reader) more() bool { return r.pos < r.end }

// varint reads one; ok is false when it does not end within the message.
func (r *reader) varint() (uint64, bool) {
	if r.pos < r.end {
		if c := r.body[r.pos]; c < 0x80 {
			r.pos++
			return uint64(c), true
		}
	}
	v, n := binary.Uvarint(r.body[r.pos:r.end])
	if n <= 0 {
		return 0, false
	}
	r.pos += n
	return v, true
}

// field reads the number and wire type of the next field.
func (r *reader) field() (number uint64, wire int, err error) {
	tag, ok := r.varint()
	if !ok {
		return 0, 0, errTruncated
	}
	if tag>>3 == 0 {
		return 0, 0, errNumber
	}
	return tag >> 3, int(tag & 7), nil
}

// bytes gives the bounds of a field of wire type wireBytes.
func (r *reader) bytes() (sub reader, err error) {
	n, ok := r.varint()
	if !ok || n > uint64(r.end-r.pos) {
		return reader{}, errTruncated
	}
	sub = reader{body: r.body, pos: r.pos, end: r.pos + int(n)}
	r.pos = sub.end
	return sub, nil
}

func (r *reader) fixed64() (uint64, error) {
	if r.end-r.pos < 8 {
		return 0, errTruncated
	}
	v := binary.LittleEndian.Uint64(r.body[r.pos:])
	r.pos += 8
	return v, nil
}

// skip passes over the value of a field that is not known.
func (r *reader) skip(wire int) error {
	n := 0
	switch wire {
	case wireVarint:
		if _, ok := r.varint(); !ok {
			return errTruncated
		}
	case wireFixed64:
		n = 8
	case wireBytes:
		_, err := r.bytes()
		return err
	case wireFixed32:
		n = 4
	default:
		return errWire
	}
	if r.end-r.pos < n {
		return errTruncated
	}
	r.pos += n
	return nil
}

func zigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
