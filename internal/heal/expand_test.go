package heal

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"grace"
)

func TestPreviewResolvesWhatIsKnown(t *testing.T) {
	p := grace.Playbook{Binding: grace.Binding{
		Steps: []grace.Step{{
			Name: "scale", With: map[string]any{"url": "http://x/${service}", "body": map[string]any{"delta": "${min_delta}"}, "token": "${env:T}"},
			Undo: &grace.Call{With: map[string]any{"to": "${snapshot.instances}"}},
		}},
		Verify: []grace.Check{{URL: "http://x/${service}"}},
	}}
	got := Preview(p, "web", map[string]any{"min_delta": 2})
	want := map[string]any{"url": "http://x/web", "body": map[string]any{"delta": 2}, "token": "${env:T}"}
	if diff := cmp.Diff(want, got.Steps[0].With); diff != "" {
		t.Error(diff)
	}
	if to := got.Steps[0].Undo.With["to"]; to != "${snapshot.instances}" {
		t.Errorf("what only a run knows became %v", to)
	}
	if got.Verify[0].URL != "http://x/web" || p.Steps[0].With["url"] != "http://x/${service}" {
		t.Error("the check is not resolved, or the playbook itself was changed")
	}
}

func TestUnknownReferenceIsAnError(t *testing.T) {
	_, err := expandMap(map[string]any{"a": []any{"${servcie}"}}, []variable{{"service", "web"}})
	if err == nil {
		t.Error("a misspelt ${servcie} was let through")
	}
}

func TestValuesInText(t *testing.T) {
	vars := []variable{
		{"size", float64(1000000)},
		{"snapshot.a", "$"},
		{"snapshot.b", "{env:HOME}"},
		{"snapshot.c", "${env:HOME}"},
		{"token", "${env:TOKEN}"}, // an operator's own
	}
	for _, tc := range []struct{ in, want string }{
		{"http://x/size/${size}", "http://x/size/1000000"},
		{"b ${snapshot.b}", "b {env:HOME}"},
		{"Bearer ${token}", "Bearer ${env:TOKEN}"},
		{"${snapshot.a}${snapshot.b}", ""},
		{"$${snapshot.b}", ""},
		{"x ${snapshot.c}", ""},
		{"${snapshot.c}", ""},
	} {
		got, err := expandString(tc.in, vars)
		switch {
		case tc.want == "" && err == nil:
			t.Errorf("%s became %v: the action would resolve what a target said", tc.in, got)
		case tc.want != "" && (err != nil || got != tc.want):
			t.Errorf("%s became %v, %v; want %s", tc.in, got, err, tc.want)
		}
	}
}
