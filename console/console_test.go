package console

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func draw(t *testing.T, page Page) string {
	t.Helper()
	pages, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := pages.Write(&buf, page); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func frame() Frame {
	now := time.Date(2026, 3, 1, 9, 31, 2, 0, time.UTC)
	return Frame{
		Title: "T", Root: "../../", Now: now, User: "ana", Role: "approver", CSRF: "c5rf",
		Mode: &Mode{Name: "observe_only", Label: "Observe only", Actor: "token:ana", Reason: "release day", Since: now.Add(-time.Hour)},
	}
}

func strays() Astray {
	return Astray{Undeclared: []UndeclaredRow{{Silenced: []string{"s"}}}, MoreUndeclared: 1, Skipped: []SkippedRow{{}}, MoreSkipped: 1, NeverMeasured: "n"}
}

// Every page must hold under a Content-Security-Policy without unsafe-inline
// and must not need a script.
func TestPagesHaveNothingInline(t *testing.T) {
	form := Form{Error: "no", Reason: "because"}
	pages := []Page{
		Home{Frame: frame(), Needs: []Need{{}}, Conditions: []Condition{{Silenced: []string{"s"}}}, Ailing: []string{"a"}, Astray: strays(), Runs: []RunRow{{}}, Activity: []Entry{{}}, KPIs: []KPI{{}}},
		Home{Frame: frame()},
		Services{Frame: frame(), Rows: []ServiceRow{{Silenced: []string{"s"}}}, Astray: strays()},
		Services{Frame: frame()},
		Run{Frame: frame(), CanAbort: true, Form: form, Steps: []Step{{Output: "o", Error: "e"}}, Undo: []Step{{}}, Checks: []Check{{}}, Gates: Gates{Rows: []Gate{{}}}},
		Run{Frame: frame()},
		Approval{Frame: frame(), Pending: true, CanDecide: true, Form: form},
		Approval{Frame: frame(), Pending: true},
		Silences{Frame: frame(), CanAct: true, Error: "no", Rows: []SilenceRow{{Holds: []Held{{}}, Form: form}}, Form: SilenceForm{Error: "no"}},
		Silences{Frame: frame()},
		Incidents{Frame: frame(), CanAct: true, Open: []IncidentRow{{Acknowledged: &Remark{}, Notes: []Remark{{}}, Others: []Link{{}}, Form: form}}, Resolved: []ResolvedRow{{}}},
		Incidents{Frame: frame()},
		Login{Frame: frame(), Next: "lite"},
		Notice{Frame: frame(), Hop: true},
	}
	for _, page := range pages {
		html := draw(t, page)
		for _, bad := range []string{"<script", " style=", "<style", " onclick", "javascript:", "ZgotmplZ", "<no value>", `href="/`, `action="/`} {
			if strings.Contains(html, bad) {
				t.Errorf("%s holds %q", page.template(), bad)
			}
		}
	}
}

func TestFormsCarryTheirToken(t *testing.T) {
	html := draw(t, Approval{Frame: frame(), ID: "r-1", Pending: true, CanDecide: true, Revision: 7})
	if n := strings.Count(html, `method="post"`); n != strings.Count(html, `name="csrf" value="c5rf"`) || n != 2 {
		t.Errorf("want both forms (sign out, decision) with the token, have %d forms", n)
	}
	for _, want := range []string{`name="revision" value="7"`, `action="../../lite/approvals/r-1"`, `minlength="3" maxlength="500" required`} {
		if !strings.Contains(html, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestApprovalWithoutTheRoleHasNoButtons(t *testing.T) {
	html := draw(t, Approval{Frame: frame(), ID: "r-1", Pending: true})
	if strings.Contains(html, `name="decision"`) || !strings.Contains(html, "may not decide") {
		t.Error("want no decision buttons and the reason why")
	}
}

func TestTextIsEscaped(t *testing.T) {
	html := draw(t, Run{Frame: frame(), ID: `"><script>`, Error: "<b>x</b>", Service: Link{Text: "s", Path: "lite/services#s"}})
	if strings.Contains(html, "<script>") || strings.Contains(html, "<b>x") {
		t.Error("text reached the page as markup")
	}
}

func TestBannerOnlyOutsideAutonomous(t *testing.T) {
	f := frame()
	if html := draw(t, Home{Frame: f}); !strings.Contains(html, "release day") || !strings.Contains(html, "since") {
		t.Error("no banner with reason and since in observe only")
	}
	f.Mode.Name = "autonomous"
	if html := draw(t, Home{Frame: f}); strings.Contains(html, `class="banner`) {
		t.Error("a banner in autonomous mode")
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		20 * time.Millisecond: "20 ms", 1500 * time.Millisecond: "1.5 s", 14 * time.Second: "14 s",
		12 * time.Minute: "12 min", 3 * time.Hour: "3 h", 72 * time.Hour: "3 d",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
	now := time.Unix(1000, 0)
	if got := distance(now, now.Add(12*time.Minute)); got != "in 12 min" {
		t.Errorf("distance ahead = %q", got)
	}
	if got := distance(now, now.Add(-14*time.Second)); got != "14 s ago" {
		t.Errorf("distance back = %q", got)
	}
}

// A number over a list that is cut says so: "3" over one row would be wrong.
func TestCutListsSaySo(t *testing.T) {
	a := strays()
	a.MoreSkipped = 4
	html := draw(t, Home{Frame: frame(), Conditions: []Condition{{}}, MoreConditions: 2, Astray: a})
	for _, want := range []string{
		`Active conditions <span class="count">1 of 3</span>`, `Undeclared services <span class="count">1 of 2</span>`, `not taken <span class="count">1 of 5</span>`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("no %s", want)
		}
	}
}
