package govern

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
)

// Window is a time of the week in which changes are welcome.
//
// It opens at the first moment when the clock of its zone shows Start (or, if
// that time is skipped, at the moment of the skip) and closes at the first
// moment when the clock shows End; Start is inside, End is not. With End at or
// before Start it closes on the next day; equal times are a whole day. When
// the clock is set back an open window stays open until the clock first shows
// End, and a repeated hour does not open it again.
type Window struct {
	Name     string   `yaml:"name" json:"name" doc:"for people"`
	Days     []string `yaml:"days" json:"days" doc:"mon to sun: the days on which it opens; empty is every day"`
	Start    string   `yaml:"start" json:"start" doc:"HH:MM"`
	End      string   `yaml:"end" json:"end" doc:"HH:MM; 24:00 is midnight; at or before start it means the next day"`
	TimeZone string   `yaml:"time_zone" json:"time_zone" doc:"IANA name; empty is UTC"`
}

// window is a Window that was read.
type window struct {
	days       [7]bool // by time.Weekday
	start, end int     // minutes after midnight; end may pass 24 h
	zone       *time.Location
}

const day = 24 * 60

// compileWindow reads a window. Its errors are [grace.FieldError].
func compileWindow(w Window) (window, error) {
	var out window
	var errs []error
	wrong := func(key, value, want string) { errs = append(errs, grace.Field(key, "%q: want %s", value, want)) }
	dayNames := [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // by time.Weekday
	for _, name := range w.Days {
		i := slices.Index(dayNames[:], strings.ToLower(name))
		if i < 0 {
			wrong("days", name, "mon, tue, wed, thu, fri, sat or sun; a date is not possible")
			continue
		}
		out.days[i] = true
	}
	if len(w.Days) == 0 {
		out.days = [7]bool{true, true, true, true, true, true, true}
	}
	var err error
	if out.start, err = clock(w.Start); err != nil || out.start == day {
		wrong("start", w.Start, "HH:MM from 00:00 to 23:59")
	}
	if out.end, err = clock(w.End); err != nil {
		wrong("end", w.End, "HH:MM from 00:00 to 24:00")
	}
	if out.end <= out.start {
		out.end += day
	}
	out.zone, err = time.LoadLocation(w.TimeZone)
	// "Local" loads, but the zone of the host would make a decision depend on
	// where it is made.
	if err != nil || w.TimeZone == "Local" {
		wrong("time_zone", w.TimeZone, "an IANA name, for example Europe/Berlin")
	}
	return out, errors.Join(errs...)
}

func clock(s string) (minutes int, err error) {
	hour, minute, found := strings.Cut(s, ":")
	h, errH := strconv.ParseUint(hour, 10, 8)
	m, errM := strconv.ParseUint(minute, 10, 8)
	if !found || errH != nil || errM != nil || len(hour) != 2 || len(minute) != 2 || m > 59 || h*60+m > day {
		return 0, fmt.Errorf("time of day %q", s)
	}
	return int(h*60 + m), nil
}

// at tells whether the window is open, and if not when it opens next: the
// zero time when it does not within three weeks.
func (w window) at(now time.Time) (open bool, opens time.Time) {
	y, m, d := now.In(w.zone).Date()
	// Two days back covers a window of a whole day and any change of the
	// clock; three weeks ahead covers an opening that a skipped day swallowed.
	for k := -2; k <= 21; k++ {
		date := time.Date(y, m, d+k, 0, 0, 0, 0, time.UTC)
		if !w.days[date.Weekday()] {
			continue
		}
		from, to := firstAt(date, w.start, w.zone), firstAt(date, w.end, w.zone)
		switch {
		case !from.Before(to): // swallowed by a skip of the clock
		case !now.Before(from) && now.Before(to):
			return true, time.Time{}
		case from.After(now) && (opens.IsZero() || from.Before(opens)):
			opens = from
		}
	}
	return false, opens
}

// firstAt gives the first instant at which the clock of a zone shows the
// minute of the date, or of the skip that leaves it out. date is midnight UTC
// of the calendar day.
func firstAt(date time.Time, minute int, zone *time.Location) time.Time {
	wall := date.Add(time.Duration(minute) * time.Minute)
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, zone)
	begins, ends := t.ZoneBounds()
	switch shown := wallClock(t); {
	case shown.After(wall): // skipped, and t is the reading from before the skip
		return begins
	case shown.Before(wall): // skipped, and t is the reading from after it
		return ends
	case begins.IsZero():
		return t
	}
	// The same reading may have been there before the clock was set back.
	_, offset := begins.Add(-1).In(zone).Zone()
	if earlier := wall.Add(-time.Duration(offset) * time.Second).In(zone); earlier.Before(begins) && wallClock(earlier).Equal(wall) {
		return earlier
	}
	return t
}

// wallClock gives what the clock shows at t, as an instant of UTC.
func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
