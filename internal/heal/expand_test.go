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
	_, err := expandMap(map[string]any{"a": []any{"${servcie}"}}, []variable{{name: "service", value: "web"}})
	if err == nil {
		t.Error("a misspelt ${servcie} was let through")
	}
}

func TestValuesInText(t *testing.T) {
	vars := []variable{
		{name: "size", value: float64(1000000)},
		{name: "snapshot.a", value: "$"},
		{name: "snapshot.b", value: "{env:HOME}"},
		{name: "snapshot.c", value: "${env:HOME}"},
		{name: "token", value: "${env:TOKEN}"},
	}
	for _, tc := range []struct{ in, want string }{
		{"http://x/size/${size}", "http://x/size/1000000"},
		{"b ${snapshot.b}", "b {env:HOME}"},
		{"Bearer ${token}", ""},
		{"Bearer ${env:TOKEN} of ${size}", "Bearer ${env:TOKEN} of 1000000"},
		{"${snapshot.a}${snapshot.b}", ""},
		{"$${snapshot.b}", ""},
		{"x ${snapshot.c}", ""},
		{"${snapshot.c}", ""},
	} {
		got, err := expandString(tc.in, plain, vars)
		switch {
		case tc.want == "" && err == nil:
			t.Errorf("%s became %v: the action would resolve what a target said", tc.in, got)
		case tc.want != "" && (err != nil || got != tc.want):
			t.Errorf("%s became %v, %v; want %s", tc.in, got, err, tc.want)
		}
	}
}

// TestValuesAreData: what came from outside is made fit for where it goes, or
// the step is refused.
func TestValuesAreData(t *testing.T) {
	list := func(words ...any) map[string]any { return map[string]any{"argv": words} }
	for name, tc := range map[string]struct {
		with    map[string]any
		value   any
		want    any // of the one setting; nil: refused
		service string
	}{
		"a path":                     {with: map[string]any{"url": "http://x/a/${v}/b"}, value: "q r/s?t#u", want: "http://x/a/q%20r%2Fs%3Ft%23u/b"},
		"out of the path":            {with: map[string]any{"url": "http://x/a/${v}/restart"}, value: "../../admin"},
		"a dot":                      {with: map[string]any{"url": "http://x/a/${v}/restart"}, value: ".."},
		"a query":                    {with: map[string]any{"url": "http://x/a?s=${v}&t=1"}, value: "1&admin=true", want: "http://x/a?s=1%26admin%3Dtrue&t=1"},
		"a host":                     {with: map[string]any{"url": "http://${v}:80/a"}, value: "web-1.local", want: "http://web-1.local:80/a"},
		"another host":               {with: map[string]any{"url": "http://${v}.internal/a"}, value: "evil@host"},
		"another host and path":      {with: map[string]any{"url": "http://${v}.internal/a"}, value: "evil.example/x?"},
		"a host behind a user":       {with: map[string]any{"url": "http://u:${env:P}@${v}/a"}, value: "evil/@x"},
		"a whole address":            {with: map[string]any{"url": "${v}/a"}, value: "https://x:1/b", want: "https://x:1/b/a"},
		"a file for an address":      {with: map[string]any{"url": "${v}"}, value: "file:///etc/passwd"},
		"an address with a user":     {with: map[string]any{"url": "${v}/a"}, value: "http://x@evil"},
		"a header":                   {with: map[string]any{"headers": map[string]any{"X": "a ${v}"}}, value: "b\r\nEvil: 1"},
		"an option":                  {with: list("kubectl", "restart", "${v}"), value: "--force"},
		"behind --":                  {with: list("rm", "--", "${v}"), value: "-x", want: "-x"},
		"an option's value":          {with: list("x", "--name=${v}"), value: "-x", want: "--name=-x"},
		"a number":                   {with: list("x", "${v}"), value: float64(-5), want: float64(-5)},
		"a script":                   {with: list("sh", "-c", "restart ${v}"), value: "a; rm -rf /"},
		"a script behind env":        {with: list("/usr/bin/env", "bash", "-ec", "restart ${v}"), value: "$(id)"},
		"a word in a script":         {with: list("sh", "-c", "restart ${v}"), value: "web-1", want: "restart web-1"},
		"NUL":                        {with: list("x", "--", "${v}"), value: "a\x00b"},
		"JSON text":                  {with: map[string]any{"body": `{"name": "${v}"}`}, value: `a", "admin": "b`, want: `{"name": "a\", \"admin\": \"b"}`},
		"a secret as a path":         {with: map[string]any{"url": "http://x/${v}"}, value: "${file:/etc/shadow}"},
		"a secret in JSON":           {with: map[string]any{"body": map[string]any{"a": "${v}"}}, value: "${env:GRACE_AUDIT_KEY}"},
		"a secret in two halves":     {with: map[string]any{"body": "${v}{env:HOME}"}, value: "$"},
		"a reference for a service":  {with: map[string]any{"url": "http://x/${service}"}, service: "${env:HOME}"},
		"an option for a service":    {with: list("restart", "--", "${service}"), service: "--all"},
		"another path for a service": {with: map[string]any{"unit": "${service}.service"}, service: "../x"},
	} {
		t.Run(name, func(t *testing.T) {
			service := tc.service
			if service == "" {
				service = "web"
			}
			got, err := expandMap(tc.with, []variable{{name: "v", value: tc.value}, {name: "service", value: service}})
			if tc.want == nil {
				if err == nil {
					t.Fatalf("became %v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range got {
				if words, ok := v.([]any); ok {
					v = words[len(words)-1]
				}
				if v != tc.want {
					t.Errorf("became %v, want %v", v, tc.want)
				}
			}
		})
	}
}

// What is put into an expression stays a name within its quotes, or a number.
func TestValuesInExpressions(t *testing.T) {
	vars := []variable{
		{name: "service", value: "web"},
		{name: "shard", value: "a b"},
		{name: "limit", value: float64(5)},
		{name: "window", value: "1m0s"},
		{name: "wild", value: `x"} or vector(1) > bool {y="`},
		{name: "none", value: "1 or vector(1)"},
	}
	for _, tc := range []struct{ in, want string }{
		{`queue{service="${service}",shard='${shard}'} < ${limit}`, `queue{service="web",shard='a b'} < 5`},
		{"max_over_time(queue{service=~`${service}-.*`}[${window}]) < 5 # it's ${limit}", "max_over_time(queue{service=~`web-.*`}[1m0s]) < 5 # it's 5"},
		{`queue{shard="\"${shard}"} < ${limit}`, `queue{shard="\"a b"} < 5`},
		{`queue{shard="${wild}"} < 5`, `queue{shard="${wild}"} < 5`},
		{`queue < ${none}`, `queue < ${none}`},
		{`queue < ${shard}`, `queue < ${shard}`},
		{`queue < ${unknown}`, `queue < ${unknown}`},
	} {
		if got := expandCheck(grace.Check{Expr: tc.in}, vars).Expr; got != tc.want {
			t.Errorf("%s became %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestWatched(t *testing.T) {
	check := func(expr string) *grace.Check { return &grace.Check{Type: grace.CheckExpr, Expr: expr, Source: "eu"} }
	p := grace.Playbook{ID: "drain", Parameters: []grace.Parameter{
		{Name: "shard", Type: grace.ParameterString, Default: "b"}, {Name: "limit", Type: grace.ParameterInt, Default: 7},
	}, Binding: grace.Binding{
		Arguments: map[string]any{"shard": "a"},
		Steps: []grace.Step{
			{Check: check(`flag{service="${service}"} < 1`), Undo: &grace.Call{Check: check(`size == ${snapshot.size}`)}}, {Check: &grace.Check{Type: grace.CheckCommand}},
		},
		Verify: []grace.Check{*check(`queue{service="${service}",shard="${shard}"} < ${limit}`)},
	}}
	want := []string{
		`queue{service="web",shard="a"} < 7`, `queue{service="web",shard="${shard}"} < 7`,
		`flag{service="web"} < 1`, `flag{service="web"} < 1`, `size == 0000000000000001`, `size == 0000000000000001`,
	}
	var got []string
	for i, c := range Watched(p, "web") {
		got = append(got, c.Expr)
		if c.Service != "web" || c.Playbook != "drain" || c.Asked() != (i != 1) {
			t.Errorf("%+v", c)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	services := []grace.Service{{ID: "web"}, {ID: "db", Bindings: map[grace.PlaybookID]grace.Binding{"drain": p.Binding}}}
	if got := Checks(services, []grace.Playbook{p}); len(got) != 7 || got[6].Service != "db" || got[6].Expr != `flag{service="db"} < 1` {
		t.Errorf("%+v", got)
	}
}
