package otlp

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// errParts means that a request has more parts than the limit.
var errParts = errors.New("too many parts")

// message is a kind of message of a request, as far as it has others in it: by
// the number of the field that they are in.
type message map[protowire.Number]*message

// requestMessage describes ExportMetricsServiceRequest.
func requestMessage() *message {
	value, list, pairs := &message{}, &message{}, &message{}
	pair := &message{2: value}
	*value = message{5: list, 6: pairs}
	*list = message{1: value}
	*pairs = message{1: pair}
	leaf := &message{}
	exemplar := &message{7: pair}
	numbers := &message{1: {7: pair, 5: exemplar}} // Gauge, Sum
	metric := &message{
		5: numbers, 7: numbers,
		9:  {1: {9: pair, 8: exemplar}},                    // Histogram
		10: {1: {1: pair, 8: leaf, 9: leaf, 11: exemplar}}, // ExponentialHistogram
		11: {1: {7: pair, 6: leaf}},                        // Summary
		12: pair,
	}
	return &message{1: { // ResourceMetrics
		1: {1: pair, 3: leaf},        // Resource
		2: {1: {3: pair}, 2: metric}, // ScopeMetrics: InstrumentationScope, Metric
	}}
}

// countParts counts the messages and texts of a protobuf request. A message of
// two bytes is a hundred in memory, so a request that is short enough may still
// be a bomb: this is known before it is decoded.
func countParts(body []byte, limit int) (int, error) {
	n := 0
	err := requestMessage().count(body, &n, limit, 0)
	return n, err
}

func (m message) count(body []byte, n *int, limit, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("messages are in one another more than %d deep", maxDepth)
	}
	for len(body) > 0 {
		field, kind, width := protowire.ConsumeTag(body)
		if width < 0 {
			return protowire.ParseError(width)
		}
		body = body[width:]
		if kind != protowire.BytesType {
			if width = protowire.ConsumeFieldValue(field, kind, body); width < 0 {
				return protowire.ParseError(width)
			}
			body = body[width:]
			continue
		}
		inner, width := protowire.ConsumeBytes(body)
		if width < 0 {
			return protowire.ParseError(width)
		}
		body = body[width:]
		if *n++; *n > limit {
			return errParts
		}
		if sub := m[field]; sub != nil {
			if err := sub.count(inner, n, limit, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// countJSON counts at least the messages and lists of a JSON request: some may
// only be text in quotes.
func countJSON(body []byte, limit int) (int, error) {
	n := bytes.Count(body, []byte("{")) + bytes.Count(body, []byte("["))
	if n > limit {
		return n, errParts
	}
	return n, nil
}
