package loop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"grace"
	"grace/internal/decide"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
)

// scenarioDay is the day on which all scenarios play, a Monday.
var scenarioDay = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// scenarioConfig has the keys of the configuration file that the loop knows.
type scenarioConfig struct {
	Mode     grace.Mode `json:"mode"`
	Services []struct {
		Name grace.ServiceID `json:"name"`
		grace.Service
	} `json:"services"`
	Objectives []sense.Objective `json:"objectives"`
	Limits     []sense.Limit     `json:"limits"`
	Playbooks  []grace.Playbook  `json:"playbooks"`
	Sense      sense.Config      `json:"sense"`
	Predict    predict.Config    `json:"predict"`
	Diagnose   diagnose.Config   `json:"diagnose"`
	Propose    propose.Config    `json:"propose"`
	Trust      struct {
		govern.Config
		ApprovalTTL grace.Duration `json:"approval_ttl"`
	} `json:"trust"`
	ChangeWindows []govern.Window `json:"change_windows"`

	HoldDown              grace.Duration `json:"hold_down"`
	RecoverWithin         grace.Duration `json:"recover_within"`
	EscalateAfter         grace.Duration `json:"escalate_after"`
	EscalateAfterCritical grace.Duration `json:"escalate_after_critical"`
}

// readConfig lays the YAML texts over each other and over the defaults.
func readConfig(t *testing.T, texts ...[]byte) Config {
	t.Helper()
	var merged any
	for _, text := range texts {
		var layer any
		if err := yaml.Unmarshal(text, &layer); err != nil {
			t.Fatalf("config: %v", err)
		}
		merged = overlay(merged, layer, 0)
	}
	data, err := json.Marshal(merged)
	if err != nil {
		t.Fatalf("config: %v", err)
	}
	c := scenarioConfig{
		Mode: grace.ModeAutonomous, Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(),
		Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(),
	}
	c.Trust.Config = govern.DefaultConfig()
	policies := c.Trust.Policies
	c.Trust.Policies = nil // or what is decoded would be laid over the defaults, one by one
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		t.Fatalf("config: %v", err)
	}
	if c.Trust.Policies == nil {
		c.Trust.Policies = policies
	}
	c.Trust.Windows = c.ChangeWindows
	out := Config{
		Config: decide.Config{
			Playbooks: c.Playbooks, Diagnose: c.Diagnose, Propose: c.Propose, Govern: c.Trust.Config, HoldDown: c.HoldDown.D(), RecoverWithin: c.RecoverWithin.D(),
		},
		Objectives: c.Objectives, Limits: c.Limits, Sense: c.Sense, Predict: c.Predict, Learn: learn.DefaultConfig(), Mode: c.Mode, ApprovalTTL: c.Trust.ApprovalTTL.D(), GroupWait: c.Diagnose.GroupWait.D(), EscalateAfter: c.EscalateAfter.D(), EscalateCritical: c.EscalateAfterCritical.D(),
	}
	for _, s := range c.Services {
		s.ID = s.Name
		out.Services = append(out.Services, s.Service)
	}
	return out
}

// overlay merges mappings by key, and in top-level keys lists of mappings by
// name or id; whatever else is given replaces what was there.
func overlay(under, over any, depth int) any {
	switch over := over.(type) {
	case nil:
		return under
	case map[string]any:
		base, ok := under.(map[string]any)
		if !ok {
			base = map[string]any{}
		}
		for k, v := range over {
			if v == nil {
				delete(base, k)
				continue
			}
			base[k] = overlay(base[k], v, depth+1)
		}
		return base
	case []any:
		base, ok := under.([]any)
		if !ok || depth != 1 || !allNamed(base) || !allNamed(over) {
			return over
		}
	items:
		for _, item := range over {
			for i := range base {
				if nameOf(base[i]) == nameOf(item) {
					base[i] = overlay(base[i], item, depth+1)
					continue items
				}
			}
			base = append(base, item)
		}
		return base
	}
	return over
}

func allNamed(list []any) bool {
	for _, item := range list {
		if nameOf(item) == "" {
			return false
		}
	}
	return true
}

func nameOf(item any) string {
	m, _ := item.(map[string]any)
	for _, key := range []string{"name", "id"} {
		if s, ok := m[key].(string); ok {
			return s
		}
	}
	return ""
}

// script is what happens to the loop in a scenario.
type script struct {
	from, to time.Time
	series   []*seriesLine
	history  []grace.Sample       // of the days before, oldest first
	answers  map[string][]*answer // by phase, step and perhaps service
	happens  []happening          // in order of time
	never    []limit
	learned  []grace.LearningEntry
}

// happening is something that a person or another system does.
type happening struct {
	at                       time.Time
	what                     string // approve, deny, abort, mode, predict, lose, silence, reload, reread, run
	playbook, service, actor string
	reason                   string
	mode                     grace.Mode
	prediction               grace.Prediction
	lasts                    time.Duration // of a silence
	override                 bool          // limits of time, for a run by hand
}

// limit is what a series must never do.
type limit struct {
	service, metric, op string
	value               float64
}

func (l limit) broken(v float64) bool {
	if l.op == "<" {
		return v < l.value
	}
	return v > l.value
}

// readScript reads the lines that README.md explains. An indented line goes on
// with the one before.
func readScript(t *testing.T, text string) *script {
	t.Helper()
	s := &script{answers: map[string][]*answer{}}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " ") && len(lines) > 0:
			lines[len(lines)-1] += line
		default:
			lines = append(lines, line)
		}
	}
	for _, line := range lines {
		if err := s.line(line); err != nil {
			t.Fatalf("script: %q: %v", line, err)
		}
	}
	slices.SortStableFunc(s.history, func(a, b grace.Sample) int { return a.At.Compare(b.At) })
	if s.to.IsZero() {
		t.Fatal("script: says not from when to when")
	}
	return s
}

func (s *script) line(line string) error {
	head, tail, _ := strings.Cut(line, ": ")
	words := strings.Fields(head)
	at := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	switch words[0] {
	case "from":
		return firstError(setTime(&s.from, at(1)), setTime(&s.to, at(3)))
	case "series":
		return s.addSeries(&seriesLine{service: at(1), metric: at(2)}, at(4), tail)
	case "history": // history api connections every 1h 20 times +1.5: 40 42 ...
		return s.recall(at(1), at(2), at(4), at(5), at(7), tail)
	case "probe":
		return s.addSeries(&seriesLine{service: at(1), metric: probeMetric, probe: true}, at(3), tail)
	case "do", "undo":
		a, err := readAnswer(tail)
		s.answers[head] = append(s.answers[head], a)
		return err
	case "never":
		v, err := strconv.ParseFloat(at(4), 64)
		s.never = append(s.never, limit{at(1), at(2), at(3), v})
		return err
	case "learned": // learned 6 failure restart_service for service_down on api
		return s.learn(at(1), grace.Result(at(2)), grace.PlaybookID(at(3)), grace.Code(at(5)), grace.ServiceID(at(7)))
	}
	h := happening{what: at(1), reason: tail}
	if err := setTime(&h.at, at(0)); err != nil {
		return err
	}
	switch h.what {
	case "approve", "deny", "abort", "lose": // 14:25:00 approve flush on api as ann: because
		h.playbook, h.service, h.actor = at(2), at(4), at(6)
	case "mode": // 14:25:00 mode stopped as ann: because
		h.mode, h.actor = grace.Mode(at(2)), at(4)
	case "silence": // 14:25:00 silence api for 10m as ann: because
		h.service, h.actor = at(2), at(6)
		d, err := time.ParseDuration(at(4))
		if err != nil {
			return err
		}
		h.lasts = d
	case "resolve": // 14:25:00 resolve api as ann: because
		h.service, h.actor = at(2), at(4)
	case "reload", "reread": // 14:25:00 reload as ann: because
		h.actor = at(3)
	case "run": // 14:25:00 run restart_service on api as ann: because
		h.playbook, h.service, h.actor = at(2), at(4), at(6)
		h.override = at(7) == "overriding"
	case "predict": // 14:25:00 predict api latency_spike 0.9 in 5m
		return s.predict(h, at(2), at(3), at(4), at(6))
	default:
		return fmt.Errorf("unknown %q", h.what)
	}
	s.happens = append(s.happens, h)
	return nil
}

func (s *script) predict(h happening, service, code, likelihood, in string) error {
	p, err1 := strconv.ParseFloat(likelihood, 64)
	d, err2 := time.ParseDuration(in)
	h.prediction = grace.Prediction{
		Key: grace.SignalKey(service + "/oracle/" + code), Service: grace.ServiceID(service), Metric: code, Code: grace.Code(code),
		Title: code + " foreseen", Likelihood: p, BreachAt: h.at.Add(d), Impact: grace.ImpactLow, At: h.at,
	}
	s.happens = append(s.happens, h)
	return firstError(err1, err2)
}

// recall has a series repeat itself until the scenario begins, each time by so
// much higher.
func (s *script) recall(service, metric, every, times, more, notation string) error {
	d, err1 := time.ParseDuration(every)
	n, err2 := strconv.Atoi(times)
	by, err3 := strconv.ParseFloat(more, 64)
	values, err4 := readSeries(notation)
	for i := range n * len(values) {
		l := seriesLine{service: service, metric: metric}
		at := s.from.Add(time.Duration(i-n*len(values)) * d)
		s.history = append(s.history, l.sample(at, values[i%len(values)]+by*float64(i/len(values))))
	}
	return firstError(err1, err2, err3, err4)
}

func (s *script) learn(n string, result grace.Result, playbook grace.PlaybookID, code grace.Code, service grace.ServiceID) error {
	count, err := strconv.Atoi(n)
	for i := range count {
		s.learned = append(s.learned, grace.LearningEntry{
			ID: fmt.Sprintf("l-earlier-%s-%s-%d", playbook, service, i), Service: service, Diagnosis: code, Playbook: playbook,
			Kind: grace.TriggerReactive, Result: result, State: grace.RunRolledBack, At: s.from.Add(-48 * time.Hour),
		})
	}
	return err
}

func (s *script) addSeries(l *seriesLine, every, notation string) error {
	d, err1 := time.ParseDuration(every)
	values, err2 := readSeries(notation)
	l.every, l.values, l.start, l.next = d, values, s.from, s.from
	s.series = append(s.series, l)
	return firstError(err1, err2)
}

func setTime(to *time.Time, text string) error {
	clock, err := time.Parse(time.TimeOnly, text)
	*to = scenarioDay.Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute + time.Duration(clock.Second())*time.Second)
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readSeries reads the notation of Prometheus' unit tests: "5 2+3x2 _" is
// 5, 2, 5, 8 and no sample; "7x3" is 7 four times, as there.
func readSeries(text string) ([]float64, error) {
	var out []float64
	for word := range strings.FieldsSeq(text) {
		begin, times, repeated := strings.Cut(word, "x")
		n := 0
		if repeated {
			var err error
			if n, err = strconv.Atoi(times); err != nil {
				return nil, fmt.Errorf("%q: %w", word, err)
			}
		}
		first, step := math.NaN(), 0.0
		if begin != "_" {
			var err error
			if first, step, err = readRamp(begin); err != nil {
				return nil, fmt.Errorf("%q: %w", word, err)
			}
		} else if repeated {
			n-- // _xN is N missing samples
		}
		for i := range n + 1 {
			out = append(out, first+float64(i)*step)
		}
	}
	return out, nil
}

func readRamp(text string) (first, step float64, err error) {
	i := strings.LastIndexAny(text, "+-")
	if i <= 0 {
		first, err = strconv.ParseFloat(text, 64)
		return first, 0, err
	}
	if first, err = strconv.ParseFloat(text[:i], 64); err != nil {
		return 0, 0, err
	}
	step, err = strconv.ParseFloat(text[i:], 64)
	return first, step, err
}

func TestReadSeries(t *testing.T) {
	got, err := readSeries("5 2+3x2 _ -1 10-2x1 7x3 _x2")
	if err != nil {
		t.Fatal(err)
	}
	if want := "[5 2 5 8 NaN -1 10 8 7 7 7 7 NaN NaN]"; fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	for _, bad := range []string{"x", "a+1x2", "1x", "1+x2"} {
		if _, err := readSeries(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
