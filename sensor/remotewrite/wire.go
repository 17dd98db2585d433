package remotewrite

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// Wire types of protobuf.
const (
	wireVarint  = int(protowire.VarintType)
	wireFixed64 = int(protowire.Fixed64Type)
	wireBytes   = int(protowire.BytesType)
)

var (
	errTruncated = errors.New("it ends within a field")
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
	v, n := protowire.ConsumeVarint(r.body[r.pos:r.end])
	if n < 0 {
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
	part, n := protowire.ConsumeBytes(r.body[r.pos:r.end])
	if n < 0 {
		return reader{}, errTruncated
	}
	r.pos += n
	return reader{body: r.body, pos: r.pos - len(part), end: r.pos}, nil
}

func (r *reader) fixed64() (uint64, error) {
	v, n := protowire.ConsumeFixed64(r.body[r.pos:r.end])
	if n < 0 {
		return 0, errTruncated
	}
	r.pos += n
	return v, nil
}

// skip passes over the value of a field that is not known.
func (r *reader) skip(number uint64, wire int) error {
	n := protowire.ConsumeFieldValue(protowire.Number(number), protowire.Type(wire), r.body[r.pos:r.end])
	switch err := protowire.ParseError(n); {
	case n >= 0:
		r.pos += n
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errTruncated
	default:
		return fmt.Errorf("pass over field %d: %w", number, err)
	}
}
