package remotewrite

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"grace/internal/telemetry"
)

var (
	errUnsupported = errors.New("the native histogram is not supported")
	errStale       = errors.New("the stale marker")
)

const (
	staleMarker   = 0x7ff0000000000002
	schemaCustom  = -53
	schemaLowest  = -4
	schemaHighest = 8
	resetYes      = 1
	resetGauge    = 3
	maxNative     = 4096 // buckets of one histogram
)

type span struct {
	offset int64
	length uint64
}

// native reads native histograms, one at a time, into memory it keeps. Both
// versions have the same message.
type native struct {
	schema          int64
	zero, zeroWidth float64
	negative        float64 // counted below zero
	spans           []span
	deltas          []int64
	counts          []float64
	custom          []float64
	dense           []float64 // counts of custom buckets
	hint            uint64
	exponential     telemetry.Exponential
	negDelta        int64
}

// read gives the point. Errors that are errUnsupported are about a histogram
// that is one; others about bytes that are none.
func (n *native) read(r reader) (p telemetry.Histogram, err error) {
	*n = native{spans: n.spans[:0], deltas: n.deltas[:0], counts: n.counts[:0], custom: n.custom[:0], dense: n.dense[:0], exponential: n.exponential}
	var sum float64
	for r.more() {
		number, wire, err := r.field()
		if err != nil {
			return p, err
		}
		switch wire {
		case wireVarint:
			v, ok := r.varint()
			if !ok {
				return p, errTruncated
			}
			switch number {
			case 4:
				n.schema = zigzag(v)
			case 6:
				n.zero = float64(v)
			case 14:
				n.hint = v
			case 15:
				p.At = int64(v)
			case 17:
				p.Start = int64(v)
			default:
				err = n.one(number, v)
			}
		case wireFixed64:
			bits, e := r.fixed64()
			v := math.Float64frombits(bits)
			switch err = e; number {
			case 3:
				sum = v
			case 5:
				n.zeroWidth = v
			case 7:
				n.zero = v
			default:
				n.float(number, v)
			}
		case wireBytes:
			var sub reader
			if sub, err = r.bytes(); err == nil {
				err = n.list(number, sub)
			}
		default:
			err = r.skip(wire)
		}
		if err != nil {
			return p, err
		}
	}
	if math.Float64bits(sum) == staleMarker {
		return p, errStale
	}
	return n.point(p)
}

// one takes an element of a list that is not packed.
func (n *native) one(number, v uint64) error {
	switch number {
	case 9:
		n.negDelta += zigzag(v)
		n.negative += max(float64(n.negDelta), 0)
	case 12:
		n.deltas = append(n.deltas, zigzag(v))
	}
	if len(n.deltas) > maxNative {
		return fmt.Errorf("%w: it has more than %d buckets", errUnsupported, maxNative)
	}
	return nil
}

func (n *native) float(number uint64, v float64) {
	switch number {
	case 10:
		n.negative += v
	case 13:
		n.counts = append(n.counts, v)
	case 16:
		n.custom = append(n.custom, v)
	}
}

// list takes packed lists and spans.
func (n *native) list(number uint64, r reader) error {
	switch number {
	case 9, 12:
		for r.more() {
			v, ok := r.varint()
			if !ok {
				return errTruncated
			}
			if err := n.one(number, v); err != nil {
				return err
			}
		}
	case 10, 13, 16:
		if (r.end-r.pos)/8 > maxNative {
			return fmt.Errorf("%w: it has more than %d buckets", errUnsupported, maxNative)
		}
		for r.more() {
			bits, err := r.fixed64()
			if err != nil {
				return err
			}
			n.float(number, math.Float64frombits(bits))
		}
	case 11:
		var s span
		for r.more() {
			number, wire, err := r.field()
			if err != nil {
				return err
			}
			if wire != wireVarint {
				if err := r.skip(wire); err != nil {
					return err
				}
				continue
			}
			v, ok := r.varint()
			if !ok {
				return errTruncated
			}
			switch number {
			case 1:
				s.offset = zigzag(v)
			case 2:
				s.length = v
			}
		}
		n.spans = append(n.spans, s)
	}
	return nil
}

// point makes the buckets.
func (n *native) point(p telemetry.Histogram) (telemetry.Histogram, error) {
	custom := n.schema == schemaCustom
	switch {
	case n.hint == resetGauge:
		return p, fmt.Errorf("%w: it is a gauge histogram", errUnsupported)
	case !custom && (n.schema < schemaLowest || n.schema > schemaHighest):
		return p, fmt.Errorf("%w: schema %d, want %d to %d or %d", errUnsupported, n.schema, schemaLowest, schemaHighest, schemaCustom)
	case len(n.counts) > maxNative || len(n.custom) > maxNative || len(n.spans) > maxNative:
		return p, fmt.Errorf("%w: it has more than %d buckets", errUnsupported, maxNative)
	}
	if custom {
		n.dense = slices.Grow(n.dense, len(n.custom)+1)[:len(n.custom)+1]
		clear(n.dense)
	} else {
		n.exponential.Begin(int32(n.schema), n.zero+n.negative, n.zeroWidth)
	}
	index, i, have := int64(0), 0, len(n.deltas)+len(n.counts)
	last := int64(0)
	for _, s := range n.spans {
		index += s.offset
		for range s.length {
			if i >= have {
				return p, fmt.Errorf("%w: its spans have more buckets than there are counts", errUnsupported)
			}
			var c float64
			if i < len(n.deltas) {
				last += n.deltas[i]
				c = float64(last)
			} else {
				c = n.counts[i-len(n.deltas)]
			}
			switch {
			case index > math.MaxInt32/2 || index < math.MinInt32/2:
				return p, fmt.Errorf("%w: a bucket has the index %d", errUnsupported, index)
			case !custom:
				n.exponential.Add(int32(index), c)
			case index < 0 || index > int64(len(n.custom)):
				return p, fmt.Errorf("%w: a bucket has the index %d of %d bounds", errUnsupported, index, len(n.custom))
			default:
				n.dense[index] += c
			}
			index++
			i++
		}
	}
	if custom {
		p.Bounds, p.Counts = n.custom, n.dense
	} else {
		p.Bounds, p.Counts = n.exponential.Buckets()
	}
	return p, nil
}
