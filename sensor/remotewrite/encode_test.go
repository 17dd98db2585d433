package remotewrite

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"grace/internal/series"
)

// message writes protobuf fields.
type message []byte

func (m message) varint(number protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, number, protowire.VarintType), v)
}

func (m message) bytes(number protowire.Number, b []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, number, protowire.BytesType), b)
}

func (m message) double(number protowire.Number, v float64) message {
	return protowire.AppendFixed64(protowire.AppendTag(m, number, protowire.Fixed64Type), math.Float64bits(v))
}

// sent is a series that tests write in either version.
type sent struct {
	labels  string // name{a=b,c=d}
	points  []series.Sample
	natives []message
	kind    uint64 // metadata of version 2
	unit    string
	created int64
}

// pairs sorts the labels of "name{a=b,c=d}".
func pairs(text string) [][2]string {
	metric, rest, _ := strings.Cut(text, "{")
	out := [][2]string{{"__name__", metric}}
	for l := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
		if n, v, ok := strings.Cut(l, "="); ok {
			out = append(out, [2]string{n, v})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return out
}

func encodePoint(p series.Sample) message {
	return message{}.double(1, p.Value).varint(2, uint64(p.At))
}

func encode1(list ...sent) []byte {
	var out message
	for _, s := range list {
		var m message
		for _, l := range pairs(s.labels) {
			m = m.bytes(1, message{}.bytes(1, []byte(l[0])).bytes(2, []byte(l[1])))
		}
		for _, p := range s.points {
			m = m.bytes(2, encodePoint(p))
		}
		for _, n := range s.natives {
			m = m.bytes(4, n)
		}
		out = out.bytes(1, m)
	}
	return out
}

func encode2(list ...sent) []byte {
	symbols := []string{""}
	ref := func(s string) uint64 {
		i := slices.Index(symbols, s)
		if i < 0 {
			i = len(symbols)
			symbols = append(symbols, s)
		}
		return uint64(i)
	}
	var all message
	for _, s := range list {
		var refs []byte
		for _, l := range pairs(s.labels) {
			refs = binary.AppendUvarint(binary.AppendUvarint(refs, ref(l[0])), ref(l[1]))
		}
		m := message{}.bytes(1, refs)
		for _, p := range s.points {
			m = m.bytes(2, encodePoint(p))
		}
		for _, n := range s.natives {
			m = m.bytes(3, n)
		}
		m = m.bytes(5, message{}.varint(1, s.kind).varint(4, ref(s.unit)))
		if s.created != 0 {
			m = m.varint(6, uint64(s.created))
		}
		all = all.bytes(5, m)
	}
	var out message
	for _, s := range symbols {
		out = out.bytes(4, []byte(s))
	}
	return append(out, all...)
}

func zig(v int64) uint64 { return protowire.EncodeZigZag(v) }

// nativeHistogram writes one with consecutive buckets from an index.
func nativeHistogram(at, schema, from int64, counts ...int64) message {
	total := int64(0)
	var deltas []byte
	last := int64(0)
	for _, c := range counts {
		deltas = binary.AppendUvarint(deltas, zig(c-last))
		last = c
		total += c
	}
	return message{}.varint(1, uint64(total)).double(3, 1).varint(4, zig(schema)).
		bytes(11, message{}.varint(1, zig(from)).varint(2, uint64(len(counts)))).
		bytes(12, deltas).varint(15, uint64(at))
}
