package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"grace/examples/shop"
)

// made is a comparison that nobody ran.
func made() report {
	first := 1.0
	fault := func(k shop.Kind, after float64, recovered bool, wrong int) outcome {
		o := outcome{planned: planned{"cart", k}, Recovered: recovered, RecoveredS: after, BreachS: int(after), Actions: []action{{Service: "cart", Status: 200, Right: wrong == 0, AfterS: first}}}
		if recovered {
			o.Actions[0].AfterS = after - 1
		}
		o.count()
		return o
	}
	return report{
		At: start, Parallel: 1, Machine: "a machine", Versions: map[string]string{"GRACE": "v1"},
		Story: []planned{{"cart", shop.Crash}, {"cart", shop.ErrorsAfterFlag}},
		Healers: []result{
			{contender: contender{Name: "usual", Title: "Prometheus, usual"}, GivenS: 180, Faults: []outcome{fault(shop.Crash, 100, true, 0), fault(shop.ErrorsAfterFlag, 180, false, 1)}, Cost: cost{10, 2, 80}},
			{contender: contender{Name: "grace", Title: "GRACE"}, GivenS: 90, Faults: []outcome{fault(shop.Crash, 5, true, 0), fault(shop.ErrorsAfterFlag, 4, true, 0)}, Cost: cost{5, 10, 40}},
			{contender: contender{Name: "monit", Title: "monit"}, GivenS: 90, Faults: []outcome{fault(shop.Crash, 3, true, 0), fault(shop.ErrorsAfterFlag, 90, false, 1)}, Cost: cost{8, 1, 8}},
		},
	}
}

func TestSummary(t *testing.T) {
	r := made()
	s := summarise(r.Healers[0])
	want := summary{Faults: 2, Recovered: 1, P50: 100, P95: 180, P95Over: true, BothP50: 100, FirstP50: 1, Breach: 280, Actions: 2, Wrong: 1}
	if s != want {
		t.Errorf("summary %+v, want %+v", s, want)
	}
}

func TestTables(t *testing.T) {
	text := made().tables()
	for _, want := range []string{"1 of 2", "> 180", "> 90 (1 wrong)", "crash, cart"} {
		if !strings.Contains(text, want) {
			t.Errorf("the tables lack %q:\n%s", want, text)
		}
	}
}

// TestHonest: where another is better, the report says so, and the reverse.
func TestHonest(t *testing.T) {
	lines := made().findings()
	for _, want := range []string{
		"monit recovered 1 of 2 faults, GRACE 2 of 2.",
		"GRACE is better than Prometheus, usual: median time to recovered, all faults 4, against 100 (25.0 times).",
		"Of the 1 faults that both healed, monit took between 0.6 and 0.6 times as long as GRACE.",
		"**monit was earlier than GRACE** to act on the faulty service at crash of cart (2.0 s, GRACE 4.0), errors_after_flag of cart (1.0 s, GRACE 3.0): with a remedy that helps, it would have healed sooner.",
		"GRACE is better than Prometheus, usual: wrong actions 0, against 1.",
		"**Prometheus, usual is better than GRACE**: CPU seconds per minute 0.2, against 2.",
		"**monit is better than GRACE**: median time to recovered, all faults 3, against 4.",
		"**monit is better than GRACE** at crash: recovered after 3.0 s on average, against 5.0 s.",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no finding %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	r := made()
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	back, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if back.page() != r.page() {
		t.Error("the page made from the file is another")
	}
	if len(back.Healers) != 3 || len(back.Healers[0].Faults) != 2 || back.Healers[1].Cost.CPUSeconds != 10 {
		t.Errorf("read back %+v", back)
	}
	page, err := os.ReadFile(filepath.Join(dir, "comparison.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| GRACE | 2 of 2 |", "group_wait: 30s", "for: 5s", "check host cart", "- GRACE v1"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestChoose(t *testing.T) {
	got, err := choose(story(), "leak,crash", 3)
	if err != nil || len(got) != 3 || got[0].Kind != shop.Crash || got[1].Kind != shop.Leak {
		t.Errorf("chose %v, %v", got, err)
	}
	if _, err := choose(story(), "flood", 3); err == nil {
		t.Error("a kind that does not exist was chosen")
	}
	perService := map[string]int{}
	for _, p := range story() {
		perService[p.Service]++
	}
	for s, n := range perService {
		if n > 3 {
			t.Errorf("%s gets %d faults: GRACE acts three times an hour on a service", s, n)
		}
	}
}

// TestConfigurations: every healer is pointed at its own shop, and acts
// through the proxy.
func TestConfigurations(t *testing.T) {
	s := site{dir: "here", control: "http://127.0.0.1:4999", services: map[string]string{}}
	for i, name := range shop.Services() {
		s.services[name] = loopback(4001 + i)
	}
	config := string(graceConfig(shop.Config(), "127.0.0.1:4900", s))
	if left := regexp.MustCompile(`127\.0\.0\.1:180\d\d`).FindAllString(config, -1); len(left) > 0 {
		t.Errorf("left as they were: %v", left)
	}
	if !strings.Contains(config, "127.0.0.1:4999/services/${service}/restart") || !strings.Contains(config, "http://127.0.0.1:4003/healthz") {
		t.Error("GRACE's configuration is not that of the site")
	}
	text := monitText(s)
	if !strings.Contains(text, "127.0.0.1:4999/services/cart/restart") || !strings.Contains(text, "port 4003 protocol http request \"/carts/1\"") {
		t.Errorf("monit's configuration is not that of the site:\n%s", text)
	}
	options, err := parse([]string{"-fast", "-grace", "-faults", "2"}, os.Stderr)
	if err != nil || len(options.contenders()) != 2 || options.faults != 2 {
		t.Errorf("options %+v, %v", options, err)
	}
}

func TestProcessFigures(t *testing.T) {
	stat := "42 (a name) here) S 1 42 42 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 8 0 12345 1000 500"
	if cpu, err := cpuOf(stat); err != nil || cpu != 2.5 {
		t.Errorf("CPU %v, %v, want 2.5", cpu, err)
	}
	if _, err := cpuOf("42 (x) S 1"); err == nil {
		t.Error("a short line was read")
	}
	if mib, err := peakOf("Name:\tx\nVmPeak:\t99999 kB\nVmHWM:\t  2048 kB\n"); err != nil || mib != 2 {
		t.Errorf("peak %v, %v, want 2", mib, err)
	}
}
