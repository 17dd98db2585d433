package gracetest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"grace"
)

// ActionCase is one call that the action's author knows the end of.
type ActionCase struct {
	Name string
	With map[string]any
	// Invalid says that Validate must refuse With. Do must then fail too.
	Invalid bool
	// Want is how Do must end. It is asked twice with the same idempotency
	// key: the second call must end the same way.
	Want grace.OutcomeStatus
	// Once keeps the suite from calling twice, for an action whose second call
	// cannot be made in the test.
	Once bool
	// Timeout bounds one call (default 10s).
	Timeout time.Duration
	// Secrets must not be found anywhere in the outcome.
	Secrets []string
	// Check looks further at the first call's outcome.
	Check func(t *testing.T, out grace.Outcome)
}

// grain is how much later than its deadline a call may return.
const grain = time.Minute

// Action checks that an action keeps the contract of grace.Action. newAction is
// called once for every case.
func Action(t *testing.T, newAction func(t *testing.T) grace.Action, cases []ActionCase) {
	t.Helper()
	if len(cases) == 0 {
		t.Fatal("gracetest.Action needs at least one case")
	}
	t.Run("name", func(t *testing.T) {
		a := newAction(t)
		report(t, nameProblems("the action", a.Name()))
		if again := newAction(t).Name(); again != a.Name() {
			t.Errorf("the name changes: %q, then %q", a.Name(), again)
		}
	})
	t.Run("unknown setting", func(t *testing.T) {
		with := map[string]any{"gracetest_no_such_setting": 1}
		if c, ok := firstValid(cases); ok {
			maps.Copy(with, c.With)
		}
		if newAction(t).Validate(with) == nil {
			t.Error("Validate accepts a setting that does not exist: a misspelt one would be left out silently")
		}
	})
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) { actionCase(t, newAction(t), c) })
	}
	if c, ok := firstValid(cases); ok {
		t.Run("cancelled before it began", func(t *testing.T) { cancelledAction(t, newAction(t), c) })
		t.Run("concurrent", func(t *testing.T) { concurrentAction(t, newAction(t), c) })
	}
}

func firstValid(cases []ActionCase) (ActionCase, bool) {
	for _, c := range cases {
		if !c.Invalid && !c.Once && c.Want == grace.OutcomeSucceeded {
			return c, true
		}
	}
	return ActionCase{}, false
}

func actionCase(t *testing.T, a grace.Action, c ActionCase) {
	before := copyOf(t, c.With)
	err := a.Validate(c.With)
	if c.Invalid {
		if err == nil {
			t.Error("Validate accepts it")
		}
	} else if err != nil {
		t.Fatalf("Validate refuses it: %v", err)
	}
	want := c.Want
	if c.Invalid {
		want = grace.OutcomeFailed
	}
	req := request(c.With, 1)
	out := timedDo(t, a, req, c.Timeout)
	report(t, outcomeProblems(out, want, c.Secrets))
	if c.Check != nil {
		c.Check(t, out)
	}
	if !c.Once && !t.Failed() {
		req.Attempt = 2
		if again := timedDo(t, a, req, c.Timeout); again.Status != out.Status {
			t.Errorf("called again with the same key it ends %s (%s), the first time %s",
				again.Status, again.Error, out.Status)
		}
	}
	if !reflect.DeepEqual(before, copyOf(t, c.With)) {
		t.Errorf("With was changed: %v, before %v", c.With, before)
	}
}

func request(with map[string]any, attempt int) grace.ActionRequest {
	return grace.ActionRequest{
		Run: "r-gracetest", Step: "step", Service: "service", Phase: grace.PhaseDo,
		IdempotencyKey: "r-gracetest/step/do", Attempt: attempt, With: with,
	}
}

func timedDo(t *testing.T, a grace.Action, req grace.ActionRequest, timeout time.Duration) grace.Outcome {
	t.Helper()
	if timeout == 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	began := time.Now()
	out := a.Do(ctx, req)
	if took := time.Since(began); took > timeout+grain {
		t.Errorf("Do took %s although its context ended after %s", took, timeout)
	}
	return out
}

func cancelledAction(t *testing.T, a grace.Action, c ActionCase) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	out := a.Do(ctx, request(c.With, 1))
	if time.Since(began) > grain {
		t.Errorf("Do did not return when its context was over")
	}
	if out.Status == grace.OutcomeSucceeded {
		t.Error("Do acted although its context was over before it began")
	}
}

func concurrentAction(t *testing.T, a grace.Action, c ActionCase) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			req := request(c.With, 1)
			req.IdempotencyKey = fmt.Sprintf("r-gracetest-%d/step/do", i)
			out := timedDo(t, a, req, c.Timeout)
			report(t, outcomeProblems(out, c.Want, c.Secrets))
		})
	}
	wg.Wait()
}

// outcomeProblems tells what is wrong with an outcome.
func outcomeProblems(out grace.Outcome, want grace.OutcomeStatus, secrets []string) []string {
	var p problems
	if out.Status != want {
		p.add("it ended %s, want %s (error %q, output %q)", out.Status, want, out.Error, out.Output)
	}
	switch out.Status {
	case grace.OutcomeSucceeded:
		p.when(out.Error != "", "it succeeded with an error: %q", out.Error)
	case grace.OutcomeFailed:
		p.when(out.Error == "", "it failed without saying why")
	case grace.OutcomeUnknown:
		p.when(out.Error == "", "its effect is unknown, and it does not say why")
	default:
		p.add("%q is no outcome status", out.Status)
	}
	p.when(out.Started.IsZero() || out.Ended.IsZero(), "Started and Ended must be set")
	p.when(out.Ended.Before(out.Started), "it ended before it started")
	p.when(len(out.Output) > grace.MaxOutput, "the output has %d bytes, more than %d", len(out.Output), grace.MaxOutput)
	doc, err := json.Marshal(out)
	if err != nil {
		p.add("the outcome cannot be stored: %v", err)
	}
	fields := textsOf(out)
	for _, text := range fields {
		p.when(!utf8.ValidString(text) || strings.ContainsRune(text, 0), "text that cannot be stored (not UTF-8, or with a NUL): %q", text)
	}
	for _, s := range secrets {
		if s == "" {
			continue
		}
		asJSON, _ := json.Marshal(s)
		found := strings.Contains(string(doc), string(asJSON[1:len(asJSON)-1]))
		for _, text := range fields {
			found = found || strings.Contains(text, s)
		}
		p.when(found, "a secret is in the outcome")
	}
	return p
}

func textsOf(out grace.Outcome) []string {
	fields := []string{out.Output, out.Error}
	for k, v := range out.Data {
		fields = append(fields, k, v)
	}
	return fields
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

func nameProblems(what, name string) []string {
	if validName.MatchString(name) {
		return nil
	}
	return []string{fmt.Sprintf("%s is named %q: want lower case letters, digits, _ and -", what, name)}
}

func copyOf(t *testing.T, with map[string]any) any {
	t.Helper()
	doc, err := json.Marshal(with)
	if err != nil {
		t.Fatalf("With of the case cannot be written as JSON: %v", err)
	}
	var out any
	if err := json.Unmarshal(doc, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// problems gathers what is wrong; a suite reports them, a test of the suite
// looks at them.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

func (p *problems) when(bad bool, format string, args ...any) {
	if bad {
		p.add(format, args...)
	}
}

func report(t *testing.T, list []string) {
	t.Helper()
	for _, text := range list {
		t.Error(text)
	}
}
