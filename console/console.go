// Package console holds GRACE's server-rendered pages: the status page, the
// services, a run, an approval, the incidents, the silences and the login, in
// plain HTML that needs no JavaScript. Notifications link here, slow phones use it, and it is what is
// served where no richer console was built.
//
// The package only draws. Its view structs say everything a page shows; who
// may see it, where it comes from and what a form does is the caller's. It
// imports nothing of GRACE, so a view is text, numbers and times: a state is a
// [Tone] (which decides shape and colour) with the word that stands beside it,
// because a colour alone tells nothing to those who cannot see it.
//
// Rules that every page keeps:
//
//   - links are relative ([Frame.Root]), so any base path in front works;
//   - no inline style or script, so a strict Content-Security-Policy holds;
//   - a GET shows and never acts: link scanners follow notification links;
//   - times are UTC, 24 hours, with the distance to now beside them;
//   - a list that is empty says what that means.
package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed templates/*.html style.css
var assets embed.FS

// Page is one of the views of this package.
type Page interface {
	// template names the file that draws the view.
	template() string
}

// Pages draws views. It is safe for concurrent use.
type Pages struct {
	templates map[string]*template.Template
	style     []byte
}

// New parses the embedded templates. An error means that the binary was built
// from broken ones.
func New() (*Pages, error) {
	style, err := assets.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("read the console's style sheet: %w", err)
	}
	base, err := template.New("base").Funcs(template.FuncMap{
		"clock": clock, "stamp": stamp, "machine": machine, "distance": distance,
		"link": func(root, path string) string { return root + path },
	}).ParseFS(assets, "templates/frame.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("parse the console's frame: %w", err)
	}
	p := &Pages{templates: map[string]*template.Template{}, style: style}
	for _, page := range []Page{Home{}, Services{}, Run{}, Approval{}, Silences{}, Incidents{}, Login{}, Notice{}} {
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(assets, "templates/"+page.template())
		}
		if err != nil {
			return nil, fmt.Errorf("parse the console's %s: %w", page.template(), err)
		}
		p.templates[page.template()] = t
	}
	return p, nil
}

// Style is the style sheet that the pages link to as lite/style.css.
func (p *Pages) Style() []byte { return p.style }

// Write draws a page. It writes all of it or, on an error, nothing.
func (p *Pages) Write(w io.Writer, page Page) error {
	var buf bytes.Buffer
	if err := p.templates[page.template()].ExecuteTemplate(&buf, "frame", page); err != nil {
		return fmt.Errorf("draw %s: %w", page.template(), err)
	}
	_, err := w.Write(buf.Bytes())
	return err
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("15:04:05")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// distance words how far a time is from now, in the largest unit that still
// says something: "14 s ago", "in 12 min".
func distance(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	if d < 0 {
		return "in " + Span(-d)
	}
	if d < time.Second {
		return "now"
	}
	return Span(d) + " ago"
}

// Span words a duration in one unit, as the console writes it everywhere:
// "14 s", "12 min", "3 h", "2 d".
func Span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d d", int(d.Hours()/24))
	}
}
