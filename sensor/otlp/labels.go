package otlp

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	common "go.opentelemetry.io/proto/otlp/common/v1"

	"grace/internal/series"
)

// scopeLabel names the instrumentation scope, as in Prometheus.
const scopeLabel = "otel_scope_name"

// label of a series.
type label struct{ name, value string }

// What a resource and its scope may bring to the labels of every point: their
// keys are written for each of these.
const (
	maxOuter      = 128      // labels
	maxOuterBytes = 16 << 10 // of their names and values
)

// keyring writes the keys of series: the labels of a resource and a scope stay
// while its points come and go.
type keyring struct {
	drop  []string // of resources
	own   []label  // of the resource
	bytes int      // of these
	outer []label  // of the resource and the scope, sorted
	inner []label  // of the point, sorted
	key   []byte
}

// resource begins a resource.
func (k *keyring) resource(attributes []*common.KeyValue) {
	k.own, k.bytes = k.own[:0], 0
	var service, instance bool
	for _, a := range attributes {
		service = service || a.GetKey() == "service.name"
		instance = instance || a.GetKey() == "service.instance.id"
	}
	for _, a := range attributes {
		drop := service && slices.ContainsFunc(k.drop, func(pattern string) bool { return matches(pattern, a.GetKey()) })
		if drop && (a.GetKey() != "process.pid" || instance) {
			continue
		}
		l := label{a.GetKey(), text(a.GetValue())}
		k.own = append(k.own, l)
		k.bytes += len(l.name) + len(l.value)
	}
}

// scope begins a scope of the resource. The error means that they bring more
// than their points can bear.
func (k *keyring) scope(name string) error {
	if n, size := len(k.own)+1, k.bytes+len(scopeLabel)+len(name); n > maxOuter || size > maxOuterBytes {
		return fmt.Errorf("its resource and scope have %d labels of %d bytes, the limit is %d of %d", n, size, maxOuter, maxOuterBytes)
	}
	k.outer = append(k.outer[:0], k.own...)
	if name != "" {
		k.outer = append(k.outer, label{scopeLabel, name})
	}
	slices.SortStableFunc(k.outer, byName)
	return nil
}

func byName(a, b label) int { return cmp.Compare(a.name, b.name) }

// keyOf gives the key of a point's series, which holds until the next call. Of
// labels with one name that of the point counts, and of these the first.
func (k *keyring) keyOf(metric string, attributes []*common.KeyValue, more ...label) []byte {
	k.inner = append(k.inner[:0], label{series.MetricLabel, metric})
	for _, a := range attributes {
		k.inner = append(k.inner, label{a.GetKey(), text(a.GetValue())})
	}
	k.inner = append(k.inner, more...)
	slices.SortStableFunc(k.inner, byName)
	k.key = k.key[:0]
	written, last := false, ""
	for in, out := k.inner, k.outer; len(in)+len(out) > 0; {
		var next label
		if len(out) == 0 || len(in) > 0 && in[0].name <= out[0].name {
			next, in = in[0], in[1:]
		} else {
			next, out = out[0], out[1:]
		}
		if !written || next.name != last {
			k.key = series.AppendLabel(k.key, next.name, next.value)
		}
		written, last = true, next.name
	}
	return k.key
}

func matches(pattern, name string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return name == pattern
	}
	return len(name) >= len(before)+len(after) && strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
}

// text writes a value as a label has it: lists and maps as JSON, bytes in
// base64.
func text(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case *common.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *common.AnyValue_ArrayValue, *common.AnyValue_KvlistValue:
		data, err := json.Marshal(plain(&common.AnyValue{Value: v}))
		if err != nil {
			return ""
		}
		return string(data)
	default:
		return ""
	}
}

// plain makes of a value what encoding/json can write.
func plain(v *common.AnyValue) any {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return x.StringValue
	case *common.AnyValue_BoolValue:
		return x.BoolValue
	case *common.AnyValue_IntValue:
		return x.IntValue
	case *common.AnyValue_DoubleValue:
		if math.IsNaN(x.DoubleValue) || math.IsInf(x.DoubleValue, 0) {
			return text(v)
		}
		return x.DoubleValue
	case *common.AnyValue_BytesValue:
		return x.BytesValue
	case *common.AnyValue_ArrayValue:
		list := make([]any, 0, len(x.ArrayValue.GetValues()))
		for _, e := range x.ArrayValue.GetValues() {
			list = append(list, plain(e))
		}
		return list
	case *common.AnyValue_KvlistValue:
		pairs := make(map[string]any, len(x.KvlistValue.GetValues()))
		for _, e := range x.KvlistValue.GetValues() {
			pairs[e.GetKey()] = plain(e.GetValue())
		}
		return pairs
	default:
		return nil
	}
}
