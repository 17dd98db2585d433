package otlp

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	common "go.opentelemetry.io/proto/otlp/common/v1"

	"grace/internal/telemetry"
)

// scopeLabel names the instrumentation scope, as in Prometheus.
const scopeLabel = "otel_scope_name"

// label of a series.
type label struct{ name, value string }

// keyring writes the keys of series: the labels of a resource and a scope stay
// while its points come and go.
type keyring struct {
	drop  []string // of resources
	outer []label  // of the resource and the scope
	kept  int      // of outer, of the resource
	all   []label
	key   []byte
}

// resource begins a resource.
func (k *keyring) resource(attributes []*common.KeyValue) {
	k.outer = k.outer[:0]
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
		k.outer = append(k.outer, label{a.GetKey(), text(a.GetValue())})
	}
	k.kept = len(k.outer)
}

func matches(pattern, name string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return name == pattern
	}
	return len(name) >= len(before)+len(after) && strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
}

// scope begins a scope of the resource.
func (k *keyring) scope(name string) {
	k.outer = k.outer[:k.kept]
	if name != "" {
		k.outer = append(k.outer, label{scopeLabel, name})
	}
}

// series gives the key of a point's series, which holds until the next call.
func (k *keyring) series(metric string, attributes []*common.KeyValue, more ...label) []byte {
	k.all = append(k.all[:0], label{telemetry.MetricLabel, metric})
	for _, a := range attributes {
		k.all = append(k.all, label{a.GetKey(), text(a.GetValue())})
	}
	k.all = append(append(k.all, more...), k.outer...)
	// Stable: of the same name, what is nearest to the point comes first.
	slices.SortStableFunc(k.all, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	k.key = k.key[:0]
	for i, l := range k.all {
		if i > 0 && l.name == k.all[i-1].name {
			continue
		}
		k.key = telemetry.AppendLabel(k.key, l.name, l.value)
	}
	return k.key
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
