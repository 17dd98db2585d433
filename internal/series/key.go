package series

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// MetricLabel is the name of the label that holds a series' metric.
const MetricLabel = "__name__"

// UpMetric is the series of a target that says whether it answers, as Prometheus has it.
const UpMetric = "up"

// The key of a series is its labels as remote write 1.0 carries them, so that
// the edge with the most samples hands over its bytes as they came:
//
//	0x0a, length, 0x0a, length of name, name, 0x12, length of value, value
//
// once for every label, lengths as varints.
const (
	tagLabel = 0x0a
	tagName  = 0x0a
	tagValue = 0x12
)

// AppendLabel adds a label to the key of a series. The labels of a series must
// come in the same order each time, best sorted by name; another order is the
// same series, found by a detour. A label whose value is empty is left out: it
// is the same as none.
func AppendLabel[N, V ~string | ~[]byte](key []byte, name N, value V) []byte {
	if len(value) == 0 {
		return key
	}
	n := 2 + varintLen(len(name)) + len(name) + varintLen(len(value)) + len(value)
	key = binary.AppendUvarint(append(key, tagLabel), uint64(n))
	key = append(binary.AppendUvarint(append(key, tagName), uint64(len(name))), name...)
	return append(binary.AppendUvarint(append(key, tagValue), uint64(len(value))), value...)
}

func varintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}

// label is one label of a key; its parts point into the key.
type label struct{ name, value []byte }

var errKey = errors.New("is not a list of labels")

// parseKey reads a key into the list it is given. Fields that no label has are
// passed over, as protobuf wants.
func parseKey(labels []label, key []byte) ([]label, error) {
	for len(key) > 0 {
		n, w := binary.Uvarint(key[1:])
		if key[0] != tagLabel || w <= 0 || uint64(len(key)-1-w) < n {
			return labels, fmt.Errorf("label %d: %w", len(labels), errKey)
		}
		body := key[1+w : 1+w+int(n)]
		key = key[1+w+int(n):]
		var l label
		for len(body) > 0 {
			tag, tw := binary.Uvarint(body)
			if tw <= 0 || tag&7 != 2 {
				return labels, fmt.Errorf("label %d: %w", len(labels), errKey)
			}
			n, w := binary.Uvarint(body[tw:])
			if w <= 0 || uint64(len(body)-tw-w) < n {
				return labels, fmt.Errorf("label %d: %w", len(labels), errKey)
			}
			part := body[tw+w : tw+w+int(n)]
			body = body[tw+w+int(n):]
			switch tag {
			case tagName:
				l.name = part
			case tagValue:
				l.value = part
			}
		}
		labels = append(labels, l)
	}
	return labels, nil
}

// canonical sorts labels, leaves out empty ones, and writes their key.
func canonical(dst []byte, labels []label) []byte {
	slices.SortStableFunc(labels, func(a, b label) int { return bytes.Compare(a.name, b.name) })
	for _, l := range labels {
		dst = AppendLabel(dst, l.name, l.value)
	}
	return dst
}

// checkLabels names the first thing that is wrong with sorted labels.
func checkLabels(labels []label) error {
	for i, l := range labels {
		switch {
		case len(l.name) == 0:
			return errors.New("a label has no name")
		case !utf8.Valid(l.name) || !utf8.Valid(l.value):
			return fmt.Errorf("label %q is not UTF-8", l.name)
		case bytes.IndexByte(l.name, 0) >= 0 || bytes.IndexByte(l.value, 0) >= 0:
			return fmt.Errorf("label %q has a NUL", l.name)
		case i > 0 && bytes.Equal(l.name, labels[i-1].name):
			return fmt.Errorf("label %q is there twice", l.name)
		}
	}
	if len(find(labels, MetricLabel)) == 0 {
		return errors.New("it has no label __name__")
	}
	return nil
}

// find gives a label's value, or none.
func find(labels []label, name string) []byte {
	for _, l := range labels {
		if string(l.name) == name {
			return l.value
		}
	}
	return nil
}
