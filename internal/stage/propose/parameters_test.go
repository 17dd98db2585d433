package propose

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
)

func playbookWith(arguments map[string]any, ps ...grace.Parameter) grace.Playbook {
	return grace.Playbook{ID: "p", Parameters: ps, Binding: grace.Binding{Arguments: arguments}}
}

func TestResolveParameters(t *testing.T) {
	three, minus, zero := 3.0, -3.0, 0.0
	delta := grace.Parameter{Name: "min_delta", Type: grace.ParameterInt, Default: 1, Min: &minus, Max: &three}
	level := grace.Parameter{Name: "level", Type: grace.ParameterString, Default: "debug", Allowed: []string{"debug", "info"}}
	ttl := grace.Parameter{Name: "ttl", Type: grace.ParameterDuration, Min: &zero, Max: &three}
	flag := grace.Parameter{Name: "flag", Type: grace.ParameterString, NonEmpty: true}
	count := grace.Parameter{Name: "count", Type: grace.ParameterInt, Required: true}
	type values = map[string]any
	tests := []struct {
		name  string
		p     grace.Playbook
		want  values
		error string // part of it
	}{
		{"none", playbookWith(nil), values{}, ""},
		{"defaults", playbookWith(nil, delta, level), values{"min_delta": 1, "level": "debug"}, ""},
		{"without a default: left out", playbookWith(nil, ttl), values{}, ""},
		{"null takes the default", playbookWith(values{"min_delta": nil}, delta), values{"min_delta": 1}, ""},
		{"arguments", playbookWith(values{"min_delta": -3, "level": "info", "ttl": "2s"}, delta, level, ttl), values{"min_delta": -3, "level": "info", "ttl": "2s"}, ""},
		{"int from JSON", playbookWith(values{"min_delta": 2.0}, delta), values{"min_delta": 2}, ""},
		{"int from text", playbookWith(values{"min_delta": "2"}, delta), values{"min_delta": 2}, ""},
		{"int64", playbookWith(values{"min_delta": int64(2)}, delta), values{"min_delta": 2}, ""},
		{"json.Number", playbookWith(values{"min_delta": json.Number("2")}, delta), values{"min_delta": 2}, ""},
		{"seconds", playbookWith(values{"ttl": 3}, ttl), values{"ttl": "3s"}, ""},
		{"grace.Duration", playbookWith(values{"ttl": grace.Duration(time.Second)}, ttl), values{"ttl": "1s"}, ""},
		{"zero is within", playbookWith(values{"ttl": 0}, ttl), values{"ttl": "0s"}, ""},

		{"above", playbookWith(values{"min_delta": 4}, delta), nil, "parameter min_delta: 4 is above the maximum 3"},
		{"below", playbookWith(values{"min_delta": -4}, delta), nil, "parameter min_delta: -4 is below the minimum -3"},
		{"negative ttl", playbookWith(values{"ttl": "-1s"}, ttl), nil, "parameter ttl: -1s is below the minimum 0s"},
		{"not allowed", playbookWith(values{"level": "trace"}, level), nil, `parameter level: "trace" is not allowed; want one of debug, info`},
		{"empty", playbookWith(values{"flag": " "}, flag), nil, "parameter flag: \" \" is empty"},
		{"missing non-empty", playbookWith(nil, flag), nil, "parameter flag: missing"},
		{"missing", playbookWith(nil, count), nil, "parameter count: missing"},
		{"half", playbookWith(values{"min_delta": 1.5}, delta), nil, "1.5 is not a whole number"},
		{"no number", playbookWith(values{"min_delta": math.NaN()}, delta), nil, "NaN is not a whole number"},
		{"huge", playbookWith(values{"min_delta": uint64(math.MaxUint64)}, delta), nil, "is not a whole number"},
		{"not text", playbookWith(values{"level": 3}, level), nil, "3 is not a string"},
		{"not a time", playbookWith(values{"ttl": "soon"}, ttl), nil, "soon is not a duration"},
		{"too long a time", playbookWith(values{"ttl": math.MaxInt64}, ttl), nil, "is not a duration"},
		{"unknown argument", playbookWith(values{"lvl": "info"}, level), nil, "parameter lvl: playbook p has none of this name"},
		{"unknown type", playbookWith(values{"x": 1}, grace.Parameter{Name: "x", Type: "float"}), nil, `type "float" is not known`},
		{"a bad default", playbookWith(nil, grace.Parameter{Name: "x", Type: grace.ParameterInt, Default: 9, Max: &three}), nil, "parameter x: 9 is above the maximum 3"},
		{"all faults", playbookWith(values{"min_delta": 9}, delta, flag), nil, "parameter flag"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ResolveParameters(tt.p)
			if tt.error != "" {
				if err == nil || !strings.Contains(err.Error(), tt.error) {
					t.Fatalf("got %v, %v; want an error with %q", got, err, tt.error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			doc, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var stored map[string]any
			if err := json.Unmarshal(doc, &stored); err != nil {
				t.Fatal(err)
			}
			tt.p.Arguments = stored
			if again, err := ResolveParameters(tt.p); err != nil || !cmp.Equal(got, again) {
				t.Errorf("read back from JSON it is %v, %v", again, err)
			}
		})
	}
}
