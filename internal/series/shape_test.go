package series

import (
	"fmt"
	"slices"
	"testing"
)

func TestShape(t *testing.T) {
	for _, c := range []struct {
		text  string
		fixed string
		may   bool // have the label job
	}{
		{`up{job="web"} == 0`, "map[job:web]", true},
		{`sum(rate(x{job="web",code=~"5.."}[5m])) / sum(rate(x{job="web"}[5m])) > 0.1`, "map[job:web]", false},
		{`x{job="a"} / on (pod) y{job="b"} > 1`, "map[]", false},
		{`x / on (job) y > 1`, "map[]", true},
		{`x / ignoring (job) y > 1`, "map[]", false},
		{`x * on (pod) group_left (job) y > 1`, "map[]", true},
		{`sum by (instance) (x) > 1`, "map[]", false},
		{`sum by (job) (x) > 1`, "map[]", true},
		{`sum without (job) (x) > 1`, "map[]", false},
		{`topk(3, x) > 1`, "map[]", true},
		{`sum(x) > 1 or y > 2`, "map[]", true},
		{`sum(x) > 1 and y > 2`, "map[]", false},
		{`sum(rate(x[5m])) > 1 unless on () up{job="batch"} == 0`, "map[]", false},
		{`x{job="a"} * on (pod) group_left y{job="b"} > 1`, "map[job:a]", true},
		{`x{job="a"} * on (pod) group_right y{job="b"} > 1`, "map[job:b]", true},
		{`vector(1)`, "map[]", false},
		{`absent(up{job="web"})`, "map[job:web]", true},
		{`label_replace(sum(x), "job", "web", "", "")`, "map[]", true},
		{`count_values("job", x) > 1`, "map[]", true},
		{`1 - max_over_time(sum by (pod) (x)[5m:1m]) > 0`, "map[]", false},
	} {
		e, err := Compile(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(e.Fixed()); got != c.fixed || e.MayHave("job") != c.may {
			t.Errorf("%s: %s %v", c.text, got, e.MayHave("job"))
		}
	}
}

func TestUnused(t *testing.T) {
	groups := []Group{{Name: "a", Rules: []Recording{{Name: "a", Expr: "x"}, {Name: "b", Expr: "a"}, {Name: "c", Expr: "a"}}}, {Name: "b", Rules: []Recording{{Name: "d", Expr: "x"}}}}
	e, _ := Compile(`b > 1`)
	if got := Unused(groups, []*Expr{e}); !slices.Equal(got, []string{"c", "d"}) {
		t.Error(got)
	}
}
