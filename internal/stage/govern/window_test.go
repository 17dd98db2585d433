package govern

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"grace"
)

func windows(t testing.TB, ws ...Window) *Agent {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Windows = ws
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func utc(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02T15:04:05.999999999Z07:00", s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

func TestWindow(t *testing.T) {
	office := Window{Days: []string{"mon", "Tue", "wed", "thu", "fri"}, Start: "09:00", End: "17:00"}
	night := Window{Days: []string{"sat"}, Start: "22:00", End: "02:00"}
	berlin := func(start, end string, days ...string) Window {
		return Window{Days: days, Start: start, End: end, TimeZone: "Europe/Berlin"}
	}
	tests := []struct {
		name  string
		ws    []Window
		now   string
		open  bool
		opens string // empty: not told
	}{
		{"no windows: always", nil, "2026-01-01T00:00:00Z", true, ""},
		{"start is inside", []Window{office}, "2026-03-02T09:00:00Z", true, ""},
		{"just before the end", []Window{office}, "2026-03-02T16:59:59.999999999Z", true, ""},
		{"end is outside", []Window{office}, "2026-03-02T17:00:00Z", false, "2026-03-03T09:00:00Z"},
		{"before the start", []Window{office}, "2026-03-02T08:59:59.999999999Z", false, "2026-03-02T09:00:00Z"},
		{"over the weekend", []Window{office}, "2026-03-06T18:00:00Z", false, "2026-03-09T09:00:00Z"},
		{"past midnight: evening", []Window{night}, "2026-03-07T23:00:00Z", true, ""},
		{"past midnight: next day", []Window{night}, "2026-03-08T01:59:00Z", true, ""},
		{"past midnight: end", []Window{night}, "2026-03-08T02:00:00Z", false, "2026-03-14T22:00:00Z"},
		{"past midnight: day before", []Window{night}, "2026-03-07T01:00:00Z", false, "2026-03-07T22:00:00Z"},
		{"whole day", []Window{{Days: []string{"sun"}, Start: "00:00", End: "24:00"}}, "2026-03-08T23:59:59Z", true, ""},
		{"equal times are a whole day", []Window{{Days: []string{"sun"}, Start: "06:00", End: "06:00"}}, "2026-03-09T05:59:59Z", true, ""},
		{"the earlier of two", []Window{night, office}, "2026-03-06T18:00:00Z", false, "2026-03-07T22:00:00Z"},
		{"either of two", []Window{night, office}, "2026-03-09T12:00:00Z", true, ""},

		// The clock of Berlin goes from 02:00 to 03:00 on 2026-03-29 at 01:00Z.
		{"skipped start: opens at the skip", []Window{berlin("02:30", "04:00")}, "2026-03-29T01:00:00Z", true, ""},
		{"skipped start: not before", []Window{berlin("02:30", "04:00")}, "2026-03-29T00:59:59Z", false, "2026-03-29T01:00:00Z"},
		{"skipped end: closes at the skip", []Window{berlin("01:00", "02:30")}, "2026-03-29T01:00:00Z", false, "2026-03-29T23:00:00Z"},
		{"skipped end: open until then", []Window{berlin("01:00", "02:30")}, "2026-03-29T00:59:59Z", true, ""},
		{"skipped whole window", []Window{berlin("02:15", "02:45", "sun")}, "2026-03-29T00:30:00Z", false, "2026-04-05T00:15:00Z"},
		{"across the skip", []Window{berlin("22:00", "06:00", "sat")}, "2026-03-29T03:59:00Z", true, ""},
		{"across the skip: an hour earlier in UTC", []Window{berlin("22:00", "06:00", "sat")}, "2026-03-29T04:00:00Z", false, "2026-04-04T20:00:00Z"},

		// It goes from 03:00 back to 02:00 on 2026-10-25 at 01:00Z.
		{"repeated start: the first counts", []Window{berlin("02:30", "03:30", "sun")}, "2026-10-25T00:30:00Z", true, ""},
		{"repeated start: stays open", []Window{berlin("02:30", "03:30", "sun")}, "2026-10-25T01:10:00Z", true, ""},
		{"repeated start: not before", []Window{berlin("02:30", "03:30", "sun")}, "2026-10-25T00:29:00Z", false, "2026-10-25T00:30:00Z"},
		{"repeated end: the first counts", []Window{berlin("01:00", "02:30", "sun")}, "2026-10-25T00:30:00Z", false, "2026-11-01T00:00:00Z"},
		{"repeated hour does not open again", []Window{berlin("02:15", "02:45", "sun")}, "2026-10-25T01:20:00Z", false, "2026-11-01T01:15:00Z"},
		{"across the repeat", []Window{berlin("22:00", "06:00", "sat")}, "2026-10-25T04:59:00Z", true, ""},
		{"across the repeat: an hour later in UTC", []Window{berlin("22:00", "06:00", "sat")}, "2026-10-25T05:00:00Z", false, "2026-10-31T21:00:00Z"},

		// Samoa left out the whole of 2011-12-30, a Friday.
		{"skipped day", []Window{{Days: []string{"fri"}, Start: "08:00", End: "10:00", TimeZone: "Pacific/Apia"}}, "2011-12-29T20:00:00Z", false, "2012-01-05T18:00:00Z"},
		// The clock of Beirut goes from midnight to 01:00 on 2026-03-29 at 2026-03-28T22:00Z.
		{"midnight is skipped", []Window{{Days: []string{"sun"}, Start: "00:00", End: "02:00", TimeZone: "Asia/Beirut"}}, "2026-03-28T22:00:00Z", true, ""},
		{"midnight is skipped: not before", []Window{{Days: []string{"sun"}, Start: "00:00", End: "02:00", TimeZone: "Asia/Beirut"}}, "2026-03-28T21:59:59Z", false, "2026-03-28T22:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			open, opens := windows(t, tt.ws...).InWindow(utc(t, tt.now))
			if open != tt.open {
				t.Fatalf("open %v, want %v (opens %v)", open, tt.open, opens)
			}
			var want time.Time
			if tt.opens != "" {
				want = utc(t, tt.opens)
			}
			if !opens.Equal(want) {
				t.Errorf("opens %v, want %v", opens.UTC(), want)
			}
		})
	}
}

func drawWindow(t *rapid.T) Window {
	day := rapid.SampledFrom([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"})
	return Window{
		Days:  rapid.SliceOfNDistinct(day, 0, 7, rapid.ID).Draw(t, "days"),
		Start: time.Unix(int64(rapid.IntRange(0, day15-1).Draw(t, "start"))*900, 0).UTC().Format("15:04"),
		End:   time.Unix(int64(rapid.IntRange(0, day15-1).Draw(t, "end"))*900, 0).UTC().Format("15:04"),
		TimeZone: rapid.SampledFrom([]string{
			"", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana", "Pacific/Chatham",
		}).Draw(t, "zone"),
	}
}

const day15 = 24 * 4 // quarters of an hour in a day

// The next opening is one: open there, closed from now until then.
func TestNextOpening(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := windows(t, drawWindow(rt), drawWindow(rt))
		now := time.Unix(rapid.Int64Range(1_750_000_000, 1_850_000_000).Draw(rt, "now"), 0)
		open, opens := a.InWindow(now)
		if open {
			if !opens.IsZero() {
				rt.Fatalf("open, and yet opens at %v", opens)
			}
			return
		}
		if !opens.After(now) || opens.Sub(now) > 15*24*time.Hour {
			rt.Fatalf("opens %v, want soon after %v", opens, now)
		}
		if in, _ := a.InWindow(opens); !in {
			rt.Fatalf("closed at its own opening %v", opens)
		}
		between := now.Add(time.Duration(rapid.Int64Range(0, int64(opens.Sub(now))-1).Draw(rt, "between")))
		if in, _ := a.InWindow(between); in {
			rt.Fatalf("open at %v, before its opening %v", between, opens)
		}
	})
}

// Where the clock is never changed, the window is what the clock shows.
func TestWindowAgainstTheClock(t *testing.T) {
	zone := time.FixedZone("", 5*3600+45*60) // Kathmandu
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWindow(rt)
		w.TimeZone = "Asia/Kathmandu"
		now := time.Unix(rapid.Int64Range(1_750_000_000, 1_850_000_000).Draw(rt, "now"), 0)
		shown := now.In(zone)
		listed := func(t time.Time) bool {
			return len(w.Days) == 0 || strings.Contains(strings.Join(w.Days, " "), strings.ToLower(t.Weekday().String()[:3]))
		}
		clock := shown.Format("15:04")
		today := listed(shown)
		yesterday := listed(shown.AddDate(0, 0, -1))
		var want bool
		if w.Start < w.End {
			want = today && w.Start <= clock && clock < w.End
		} else {
			want = today && w.Start <= clock || yesterday && clock < w.End
		}
		if got, _ := windows(t, w).InWindow(now); got != want {
			rt.Fatalf("%+v at %v: open %v, want %v", w, shown, got, want)
		}
	})
}

func TestBadWindows(t *testing.T) {
	for key, w := range map[string]Window{
		"days":      {Days: []string{"monday"}, Start: "09:00", End: "10:00"},
		"start":     {Start: "24:00", End: "10:00"},
		"end":       {Start: "09:00", End: "24:01"},
		"time_zone": {Start: "09:00", End: "10:00", TimeZone: "Local"},
	} {
		cfg := DefaultConfig()
		cfg.Windows = []Window{w}
		errs := grace.FieldErrors(cfg.Validate())
		if len(errs) != 1 || errs[0].Path != "change_windows[0]."+key {
			t.Errorf("%s: got %v", key, errs)
		}
	}
	for _, bad := range []string{"", "9:00", "09.00", "09:60", "25:00", "-1:00", "09:0", "09:00:00", "+9:00"} {
		if m, err := clock(bad); err == nil {
			t.Errorf("%q was read as minute %d", bad, m)
		}
	}
}
