package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Who speaks in the account.
const (
	voiceStory = "story"
	voiceFault = "fault"
	voiceGrace = "GRACE"
	voiceHuman = "operator"
	voiceShop  = "shop"
)

// teller writes the live account, one timestamped line for each thing that
// happens. It is safe for concurrent use.
type teller struct {
	w      io.Writer
	colour bool
	utc    bool
	now    func() time.Time

	mu sync.Mutex
}

func (t *teller) say(voice, format string, args ...any) {
	who := fmt.Sprintf("%-8s", voice)
	if t.colour {
		code := map[string]string{voiceFault: "31", voiceGrace: "36", voiceHuman: "35", voiceShop: "32"}[voice]
		if code != "" {
			who = "\x1b[" + code + "m" + who + "\x1b[0m"
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(t.w, "%s  %s  %s\n", t.clock(t.now()), who, fmt.Sprintf(format, args...))
}

// heading opens a chapter.
func (t *teller) heading(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if t.colour {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(t.w, "\n%s\n", text)
}

// plain writes text as it is.
func (t *teller) plain(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintln(t.w, strings.TrimRight(text, "\n"))
}

// seconds gives a measured time for the table: one decimal, or a dash.
func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *s)
}

// since gives the seconds from a to b, to the tenth.
func since(a, b time.Time) *float64 {
	s := float64(b.Sub(a).Round(100*time.Millisecond)) / float64(time.Second)
	return &s
}

// clock prints the time of day.
func (t *teller) clock(at time.Time) string {
	if t.utc {
		return at.UTC().Format("15:04:05Z")
	}
	return at.Local().Format("15:04:05")
}
