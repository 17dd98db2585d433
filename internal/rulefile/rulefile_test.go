package rulefile

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func data(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(data(t, name)), got); diff != "" {
		t.Errorf("%s (-want +got), run with -update if that is meant:\n%s", path, diff)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	f, problems := Read(data(t, "plain.yaml"))
	if problems != nil || len(f.Groups) != 2 || len(f.Groups[0].Rules) != 2 {
		t.Fatalf("%+v %v", f, problems)
	}
	g := f.Groups[0]
	if g.Name != "web" || g.Interval != 30*time.Second || g.Offset != 10*time.Second || g.Limit != 5 || g.Line != 2 {
		t.Errorf("%+v", g)
	}
	record, alert := g.Rules[0], g.Rules[1]
	if record.Record != "job:errors:rate5m" || record.Labels["source"] != "rule" || record.Labels["team"] != "web" {
		t.Errorf("%+v", record)
	}
	if alert.Alert != "HighErrors" || alert.For != 5*time.Minute || alert.KeepFiring != 10*time.Minute || alert.Labels["severity"] != "page" ||
		alert.Labels["team"] != "web" || alert.Text() != "{{ $labels.job }} fails: {{ $value | humanize }} errors a second" || alert.Line != 11 || alert.ExprAt.Line != 12 {
		t.Errorf("%+v %q", alert, alert.Text())
	}
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	f, problems := Read(data(t, "kubernetes.yaml"))
	if problems != nil || len(f.Groups) != 2 || f.Groups[0].Rules[0].Alert != "A" || f.Groups[1].Rules[0].Alert != "B" {
		t.Fatalf("%+v %v", f, problems)
	}
	if fmt.Sprint(f.Others) != "[ConfigMap Service]" {
		t.Errorf("%v", f.Others)
	}
}

// TestMistakes: what is wrong is said at its place, and all of it.
func TestMistakes(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	show := func(problems []Problem) {
		for _, p := range problems {
			fmt.Fprintf(&b, "%d:%d: %s\n", p.Line, p.Column, p)
			if p.Hint != "" {
				fmt.Fprintf(&b, "    %s\n", p.Hint)
			}
		}
	}
	_, problems := Read(data(t, "mistakes.yaml"))
	show(problems)
	for _, text := range []string{"just text", "groups: {}", "groups:\n  - name: [", "a: 1", "groups:\n- name: x\n  rules:\n  - {{ alert }}\n"} {
		fmt.Fprintf(&b, "\n%q\n", text)
		_, problems := Read([]byte(text))
		show(problems)
	}
	for _, text := range []string{"", "{}", "groups:", "---\n---\n"} {
		if f, problems := Read([]byte(text)); len(problems) > 0 || len(f.Groups) > 0 {
			t.Errorf("%q: %+v %v", text, f, problems)
		}
	}
	b.WriteString("\nSLOs\n")
	_, problems = ReadSLOs(data(t, "slo_mistakes.yaml"))
	show(problems)
	golden(t, "mistakes.txt", b.String())
}

// FuzzRead: no file brings the reader down.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"plain.yaml", "kubernetes.yaml", "mistakes.yaml", "slos.yaml", "slo_mistakes.yaml"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{"&a [*a]", "&a {kind: List, items: [*a]}", "groups: &a [*a]", "groups: [&a {name: x, rules: [*a]}]", "slos: [&a {sli: *a}]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, problems := Read([]byte(text))
		_, more := ReadSLOs([]byte(text))
		for _, p := range append(problems, more...) {
			if p.Line < 1 || p.Message == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
