package loop

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/explain"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/store"
)

// report turns what a scenario left in the store into text that can be read
// and compared.
type report struct {
	t       *testing.T
	l       *Loop
	entries []grace.AuditEntry
	runs    []grace.Run
	hints   *strings.Replacer
	ids     map[string]string
	last    map[string]int // by kind of id
}

func newReport(t *testing.T, l *Loop) *report {
	t.Helper()
	ctx, q := t.Context(), l.Store.Q()
	verified, err := l.Store.VerifyAudit(ctx)
	if err != nil || !verified.OK {
		t.Errorf("the audit log does not verify: %+v, %v", verified, err)
	}
	r := &report{t: t, l: l, ids: map[string]string{}, last: map[string]int{}}
	again, err := Replay(ctx, l.Store, time.Time{}, time.Now().Add(time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	if again.Differ > 0 || again.Decisions < decisionsOf(t, l) {
		t.Errorf("computed again: %+v", again)
	}
	replayed.Lock()
	replayed.sum.Join(again)
	replayed.Unlock()
	r.entries = everything(t, func(p store.Page) ([]grace.AuditEntry, string, error) {
		return l.Store.AuditEntries(ctx, q, store.AuditFilter{}, p)
	})
	operations := everything(t, func(p store.Page) ([]grace.AuditEntry, string, error) {
		return l.Store.Operations(ctx, q, store.AuditFilter{}, p)
	})
	r.entries = append(r.entries, slices.DeleteFunc(operations, func(e grace.AuditEntry) bool { return !strings.HasPrefix(e.Action, "signal.") })...)
	// What happens at the same moment is concurrent: it is shown in an order
	// of its own.
	slices.SortStableFunc(r.entries, func(a, b grace.AuditEntry) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(rankOf(a), rankOf(b)))
	})
	r.runs = everything(t, func(p store.Page) ([]grace.Run, string, error) {
		return l.Store.Runs(ctx, q, store.RunFilter{}, p)
	})
	slices.SortStableFunc(r.runs, func(a, b grace.Run) int { return cmp.Compare(r.firstOf(a.ID), r.firstOf(b.ID)) })
	decisions := everything(t, func(p store.Page) ([]grace.Decision, string, error) {
		return l.Store.Decisions(ctx, q, store.DecisionFilter{}, p)
	})
	var hints []string
	add := func(reasons []grace.Reason) {
		for _, g := range reasons {
			if hint := explain.Hint(g); hint != "" {
				hints = append(hints, "; "+hint, "")
			}
		}
	}
	for _, d := range decisions {
		add(d.Reasons)
	}
	for _, run := range r.runs {
		add(run.Reasons)
	}
	r.hints = strings.NewReplacer(hints...)
	return r
}

func rankOf(e grace.AuditEntry) int {
	kind, _, _ := strings.Cut(e.Action, ".")
	return slices.Index([]string{"mode", "signal", "storm", "approval", "decision", "run", "incident"}, kind)
}

// firstOf gives the place of a run's first entry.
func (r *report) firstOf(id grace.RunID) int {
	return slices.IndexFunc(r.entries, func(e grace.AuditEntry) bool { return e.Object == "run/"+string(id) })
}

// everything reads all pages, and gives the oldest first.
// replayed sums up what came of computing the decisions of all scenarios again.
var replayed struct {
	sync.Mutex
	sum decide.Replayed
}

// decisionsOf counts those that are stored.
func decisionsOf(t *testing.T, l *Loop) int {
	return len(everything(t, func(p store.Page) ([]grace.Decision, string, error) {
		return l.Store.Decisions(t.Context(), l.Store.Q(), store.DecisionFilter{}, p)
	}))
}

func everything[T any](t *testing.T, read func(store.Page) ([]T, string, error)) []T {
	t.Helper()
	var all []T
	for page := (store.Page{Limit: 200}); ; {
		list, next, err := read(page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
		if next == "" {
			slices.Reverse(all)
			return all
		}
		page.Cursor = next
	}
}

func (r *report) texts(w *world) []string { return []string{r.audit(), r.ended(w)} }

// audit gives one line an entry; what more the reason says stands below it.
func (r *report) audit() string {
	var out strings.Builder
	previous := ""
	for _, e := range r.entries {
		by := ""
		if e.Actor != grace.Self {
			by = " by " + e.Actor
		}
		reason := r.hints.Replace(e.Reason)
		parts := splitReasons(reason)
		if reason == previous && len(parts) > 1 {
			parts = append(parts[:1], "the same")
		}
		previous = reason
		fmt.Fprintf(&out, "%s %s %s%s: %s\n", e.At.Format(time.TimeOnly), e.Action, e.Object, by, strings.Join(parts, "\n\t"))
	}
	return r.normal(out.String())
}

// splitReasons cuts a text before each "gate: code (actual".
func splitReasons(text string) []string {
	var parts []string
	from := 0
	for _, at := range regexp.MustCompile(`; \w+: \w+ \(actual `).FindAllStringIndex(text, -1) {
		parts = append(parts, text[from:at[0]])
		from = at[0] + 2
	}
	return append(parts, text[from:])
}

// ended gives the runs, what was really called, and what was learned.
func (r *report) ended(w *world) string {
	var out strings.Builder
	r.foreseen(&out)
	for _, run := range r.runs {
		fmt.Fprintf(&out, "%s %s on %s for %s %s: %s", run.ID, run.Playbook.ID, run.Service, run.Kind, run.Code, run.Status)
		if run.RecoveredIn > 0 {
			fmt.Fprintf(&out, ", recovered in %s", run.RecoveredIn.D().Round(time.Second))
		}
		if run.Error != "" {
			fmt.Fprintf(&out, ": %s", r.hints.Replace(run.Error))
		}
		out.WriteString("\n")
		for _, g := range run.Reasons {
			fmt.Fprintf(&out, "\t%s\n", r.hints.Replace(explain.Line(g)))
		}
		for _, c := range w.calls {
			if c.run == run.ID {
				fmt.Fprintf(&out, "\t%s %s\n", c.at.Format(time.TimeOnly), c.text)
			}
		}
	}
	r.learned(&out)
	pending, err := r.l.Store.PendingTriggers(r.t.Context(), r.l.Store.Q(), 100)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, t := range pending {
		fmt.Fprintf(&out, "undecided: %s on %s\n", t.Code, t.Service)
	}
	return r.normal(out.String())
}

// foreseen gives the first prediction of each series that was not in shadow, and
// those of the next days, or of several metrics together, that were.
func (r *report) foreseen(out *strings.Builder) {
	predictions := everything(r.t, func(p store.Page) ([]grace.Prediction, string, error) {
		return r.l.Store.Predictions(r.t.Context(), r.l.Store.Q(), store.PredictionFilter{}, p)
	})
	seen := map[grace.SignalKey]bool{}
	for _, p := range predictions {
		if p.Rehearsed {
			continue
		}
		became := ""
		if p.Resolved != nil {
			became = ", " + string(p.Outcome) + " by " + p.Resolved.Format(time.TimeOnly)
		}
		shadow := p.Outcome == grace.PredictionFalseNegative || p.Published == nil && p.Rule != predict.RuleExternal
		if shadow {
			if p.Until.Sub(p.Made) > time.Hour || p.Metric == predict.Joint {
				fmt.Fprintf(out, "%s in shadow: %s on %s with %.2f by rule %s, at %s%s: %s\n", p.Made.Format(time.TimeOnly), p.Code, p.Service,
					p.Likelihood, p.Rule, p.BreachAt.Format(time.DateTime), became, strings.Join(p.Evidence, "; "))
			}
			continue
		}
		if !seen[p.Key] {
			layout := time.TimeOnly
			if p.Until.Sub(p.Made) > time.Hour {
				layout = time.DateTime
			}
			fmt.Fprintf(out, "%s foreseen: %s on %s with %.2f, at %s%s\n", p.Made.Format(time.TimeOnly), p.Code, p.Service, p.Likelihood, p.BreachAt.Format(layout), became)
		}
		seen[p.Key] = true
	}
}

func (r *report) learned(out *strings.Builder) {
	entries, err := r.l.Store.LearningSince(r.t.Context(), r.l.Store.Q(), time.Time{})
	if err != nil {
		r.t.Fatal(err)
	}
	type subject struct {
		service  grace.ServiceID
		code     grace.Code
		playbook grace.PlaybookID
	}
	book := learn.New(r.l.stages.Load().Learn, entries)
	seen := map[subject]bool{}
	for _, e := range entries {
		s := subject{e.Service, e.Diagnosis, e.Playbook}
		if seen[s] || e.Result == grace.ResultNeutral {
			continue
		}
		seen[s] = true
		score, trials := book.Rank(s.service, s.code, s.playbook, r.l.Now())
		fmt.Fprintf(out, "learned: %s for %s on %s succeeds with %.2f (%.1f trials)\n", s.playbook, s.code, s.service, score, trials)
	}
}

// normal numbers the ids and shortens the times.
func (r *report) normal(text string) string {
	text = strings.ReplaceAll(text, scenarioDay.Format(time.DateOnly)+"T", "")
	text = regexp.MustCompile(`(\d\d:\d\d:\d\d)Z`).ReplaceAllString(text, "$1")
	return regexp.MustCompile(`\b(r|dec|p|d|t|storm)-[0-9a-f]{16}\b`).ReplaceAllStringFunc(text, func(id string) string {
		if r.ids[id] == "" {
			kind, _, _ := strings.Cut(id, "-")
			r.last[kind]++
			r.ids[id] = fmt.Sprintf("%s-%d", kind, r.last[kind])
		}
		return r.ids[id]
	})
}
