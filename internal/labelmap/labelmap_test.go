package labelmap

import (
	"fmt"
	"testing"

	"grace"
)

func TestServices(t *testing.T) {
	t.Parallel()
	rules, err := Compile([]Rule{
		{Match: map[string]string{"alertname": "Nginx*|Apache*"}, Service: "web"},
		{Match: map[string]string{"namespace": "~(shop|cart)-[a-z]+", "alertname": "!Watchdog"}, Service: "${namespace}", Code: "capacity"},
		{Match: map[string]string{"job": "db"}, Severity: grace.SeverityInfo},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := Services{Label: "service", Fallback: []string{"job", "app"}, Rules: rules, Declared: func(id grace.ServiceID) bool { return id == "web" || id == "db" }}
	for _, c := range []struct {
		labels   map[string]string
		want     grace.ServiceID
		declared bool
	}{
		{map[string]string{"alertname": "NginxDown", "service": "other"}, "web", true},
		{map[string]string{"namespace": "shop-prod"}, "shop-prod", false},
		{map[string]string{"namespace": "shop-prod", "alertname": "Watchdog"}, "core", false},
		{map[string]string{"service": "db"}, "db", true},
		{map[string]string{"service": "core.database"}, "core", false},
		{map[string]string{"job": "node-exporter", "app": "web"}, "web", true},
		{map[string]string{"job": "db"}, "db", true},
		{nil, "core", false},
	} {
		if id, declared := s.Of(c.labels); id != c.want || declared != c.declared {
			t.Errorf("%v: %s %v", c.labels, id, declared)
		}
	}
	if a, which := rules.Find(map[string]string{"namespace": "cart-x"}); which != 1 || a.Code != "capacity" {
		t.Errorf("%+v %d", a, which)
	}
	if _, err := Compile([]Rule{{Match: map[string]string{"a": "~("}, Service: "x"}, {Service: "x"}}); err == nil {
		t.Error("two mistakes pass")
	}
}

func TestSeverity(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]grace.Severity{
		"page": grace.SeverityCritical, " Critical": grace.SeverityCritical, "warning": grace.SeverityWarning, "": grace.SeverityWarning, "none": grace.SeverityInfo, "info": grace.SeverityInfo,
	} {
		if got := Severity(word); got != want {
			t.Errorf("%q: %s", word, got)
		}
	}
}

// What a rule may say of labels some of which are open; one before it that surely matches
// leaves it nothing.
func TestMay(t *testing.T) {
	m, err := Compile([]Rule{
		{Match: map[string]string{"job": "web"}, Service: "web"},
		{Match: map[string]string{"alertname": "Slow", "pod": ""}, Service: "db"},
		{Match: map[string]string{"alertname": "Slow*"}, Service: "cart"},
		{Match: map[string]string{"alertname": "Slow"}, Service: "shop"},
		{Match: map[string]string{"alertname": "!Slow"}, Service: "rest"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for labels, want := range map[[3]string]string{ // alertname, job, what is open
		{"Slow", "web", ""}:    "[0]",
		{"Slow", "web", "job"}: "[0 1]",
		{"Slow", "", "pod"}:    "[1 2]",
		{"Other", "", "job"}:   "[0 4]",
		{"Other", "db", "pod"}: "[4]",
	} {
		got := m.May(map[string]string{"alertname": labels[0], "job": labels[1]}, func(label string) bool { return label == labels[2] })
		if fmt.Sprint(got) != want {
			t.Errorf("%v: %v, want %s", labels, got, want)
		}
	}
}
