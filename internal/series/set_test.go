package series

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// rounds appends rounds of a set, a second apart, and gives what a selector finds after each.
func rounds(t *testing.T, r *rig, s *Set, e *Expr, partial bool, each ...[]labels.Labels) (out [][]string) {
	t.Helper()
	for _, list := range each {
		r.now = r.now.Add(1e9)
		s.Begin(r.now)
		for i, ls := range list {
			s.Append("", ls, Meta{}, Sample{At: r.now.UnixMilli(), Value: float64(i)})
		}
		s.End(partial)
		out = append(out, elements(t, r, e))
	}
	return out
}

func elements(t *testing.T, r *rig, e *Expr) (out []string) {
	t.Helper()
	for _, one := range evaluate(t, r.DB, e, r.now).Elements {
		out = append(out, fmt.Sprintf("%s %v", labels.FromMap(one.Labels), one.Value))
	}
	return out
}

// What a round has is there, what it has not has ended, and comes back; of a partial one
// nothing ends. Only what somebody looks at is remembered.
func TestSet(t *testing.T) {
	a, b, other := labels.FromStrings("__name__", "m", "i", "a"), labels.FromStrings("__name__", "m", "i", "b"), labels.FromStrings("__name__", "nobody_looks")
	both := []string{`{i="a", job="s"} 0`, `{i="b", job="s"} 1`}
	r := newRig(t, nil)
	e := r.watch(`m`)[0]
	s := r.NewSet(From{Sensor: "s"}, labels.FromStrings(JobLabel, "s"))
	got := rounds(t, r, s, e, false, []labels.Labels{a, b, other}, []labels.Labels{a}, nil, []labels.Labels{a, b})
	if want := [][]string{both, both[:1], nil, both}; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%q, want %q", got, want)
	}
	if len(s.open) != 2 {
		t.Errorf("%d series are remembered", len(s.open))
	}
	if got := rounds(t, r, s, e, true, []labels.Labels{a}, nil); !slices.EqualFunc(got, [][]string{both, both}, slices.Equal) {
		t.Errorf("partial: %q", got)
	}
	s.Close(r.now.Add(1e6))
	r.now = r.now.Add(1e9)
	if got := elements(t, r, e); got != nil {
		t.Errorf("closed: %q", got)
	}
}

// A label that the set gives, too, has another name, whatever names there are already; what
// has a time of its own ends by itself.
func TestSetOfOthers(t *testing.T) {
	r := newRig(t, nil)
	e := r.watch(`own`)[0]
	s := r.NewSet(From{Sensor: "s"}, labels.FromStrings(JobLabel, "s", "exported_i", "x"))
	s.Begin(start)
	s.Append("own", labels.FromStrings("__name__", "m", "job", "j", "exported_job", "k", "exported_i", "l", "i", "a"), Meta{}, Sample{At: start.UnixMilli() - 1, Value: 1})
	s.End(false)
	s.Close(start.Add(1e6))
	if got, want := elements(t, r, e), []string{`{exported_exported_i="l", exported_exported_job="j", exported_i="x", exported_job="k", i="a", job="s"} 1`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What there is no room for in a round has not ended.
func TestSetOfFullRound(t *testing.T) {
	a, b := labels.FromStrings("__name__", "m", "i", "a"), labels.FromStrings("__name__", "m", "i", "b")
	r := newRig(t, func(c *Config, _ *Options) { c.Limits.SamplesPerRequest = 2 })
	e := r.watch(`m`)[0]
	s := r.NewSet(From{Sensor: "s"}, labels.EmptyLabels())
	got := rounds(t, r, s, e, false, []labels.Labels{a, b}, []labels.Labels{labels.FromStrings("__name__", "new"), a, b}, []labels.Labels{a})
	if want := [][]string{{`{i="a"} 0`, `{i="b"} 1`}, {`{i="a"} 1`, `{i="b"} 1`}, {`{i="a"} 0`}}; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%q, want %q", got, want)
	}
}
