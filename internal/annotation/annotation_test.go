package annotation

import (
	"strings"
	"testing"
	"time"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	labels := map[string]string{"instance": "web-1:9100"}
	for text, want := range map[string]string{
		"plain": "plain",
		"{{ $labels.instance }} has {{ $value | humanizePercentage }} left": "web-1:9100 has 3.5% left",
		"{{ $labels.none }}|{{ .Value }}|{{ printf \"%.1f\" $value }}":      "|0.035|0.0",
		"{{ $value | humanize }}, {{ stripPort $labels.instance }}":         "35m, web-1",
		"{{ $labels }}": "map[instance:web-1:9100]",
	} {
		if got := Expand(text, labels, 0.035, time.Unix(0, 0)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"{{ nothing }}", "{{ query \"up\" | first | value }}"} {
		if got := Expand(text, labels, 1, time.Unix(0, 0)); !strings.HasPrefix(got, text) {
			t.Errorf("%s: %q", text, got)
		}
	}
	if Check("{{ $labels.a }}") != nil || Check("{{ nothing }}") == nil || Check("{{ $x }}") == nil {
		t.Error("a template is judged wrongly")
	}
}
