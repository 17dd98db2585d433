package predict

import (
	"math"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"
	"unique"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
	"grace/internal/forecast"
)

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}

// The hours that a clock shows: one is passed over in spring and one comes twice in autumn;
// half an hour is none.
func TestClock(t *testing.T) {
	for _, tt := range []struct {
		zone, from string
		want       []int64 // what each hour of UTC is, from then on, in hours since its midnight
	}{
		{"UTC", "2026-03-29T00:00:00Z", []int64{0, 1, 2, 3}},
		{"Europe/Berlin", "2026-03-29T00:00:00Z", []int64{1, 3, 4}},
		{"Europe/Berlin", "2026-10-25T00:00:00Z", []int64{2, 2, 3}},
		{"America/New_York", "2026-03-08T05:00:00Z", []int64{0, 1, 3, 4}},
		{"America/New_York", "2026-11-01T04:00:00Z", []int64{0, 1, 1, 2}},
		{"America/St_Johns", "2026-03-08T04:00:00Z", []int64{1, 2, 4}},
		{"Asia/Kolkata", "2026-03-29T00:00:00Z", []int64{6, 7, 8}},
		{"Australia/Lord_Howe", "2026-04-04T13:00:00Z", []int64{24, 25, 26, 27}},
		{"Europe/Berlin", "1969-12-31T22:00:00Z", []int64{23, 24, 25}},
	} {
		from, err := time.Parse(time.RFC3339, tt.from)
		if err != nil {
			t.Fatal(err)
		}
		midnight := from.Truncate(24*time.Hour).Unix() / 3600
		for range 2 { // backwards too
			c := clock{zone: zone(t, tt.zone)}
			var got []int64
			for i := range tt.want {
				got = append(got, c.local(from.Unix()/3600+int64(i))-midnight)
			}
			for i := range slices.Backward(tt.want) {
				if again := c.local(from.Unix()/3600+int64(i)) - midnight; again != got[i] {
					t.Errorf("%s: hour %d is %d, and then %d", tt.zone, i, got[i], again)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s from %s: %s", tt.zone, tt.from, diff)
			}
		}
	}
}

// What is laid out by the clock is what the clock showed: each value is in the place of its
// hour, none is from later, and each hour to come is the step of its own.
func TestByClock(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia", "America/St_Johns"}
	rapid.Check(t, func(t *rapid.T) {
		z, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		hour := rapid.Int64Range(time.Date(2011, 1, 1, 0, 0, 0, 0, time.UTC).Unix()/3600, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Unix()/3600).Draw(t, "hour")
		n := rapid.Int64Range(1, hourlyPoints).Draw(t, "n")
		r := Refit{hour: hour, clock: clock{zone: z}}
		r.history = forecast.History{Start: instant((hour - n) * hourLength), Step: time.Hour}
		for i := range n {
			r.history.Values = append(r.history.Values, float64(hour-n+i))
		}
		laid, steps := r.byClock()
		c := clock{zone: z}
		end := laid.Start.UnixMilli()/hourLength + int64(len(laid.Values))
		if end != hour {
			t.Fatalf("it ends at %d, want %d", end, hour)
		}
		now := c.local(hour)
		want := map[int64][]float64{}
		for h := hour - n; h < hour; h++ {
			want[c.local(h)-now] = append(want[c.local(h)-now], float64(h))
		}
		for i, v := range laid.Values {
			at := int64(i - len(laid.Values))
			switch passed := want[at]; {
			case len(passed) == 0 && !math.IsNaN(v):
				t.Fatalf("an hour that never was is %v", v)
			case len(passed) == 1 && v != passed[0], len(passed) == 2 && v != (passed[0]+passed[1])/2:
				t.Fatalf("hour %d is %v, want the mean of %v", at, v, passed)
			}
		}
		if len(steps) < refitAhead-24 || len(steps) > refitAhead {
			t.Fatalf("%d hours ahead", len(steps))
		}
		for h, step := range steps {
			if step < 0 || step >= refitAhead || int64(step) != max(c.local(hour+int64(h))-now, 0) {
				t.Fatalf("%d hours ahead is step %d", h, step)
			}
		}
	})
}

// office is busy from nine to five on weekdays, by the clock of its zone.
func office(at time.Time, z *time.Location) float64 {
	local := at.In(z)
	v := 20 + noise(int(at.Unix()/600))
	if d := local.Weekday(); d == time.Saturday || d == time.Sunday {
		return v
	}
	if h := local.Hour(); h >= 9 && h < 17 {
		v += 80
	}
	return v
}

// localized gives an agent that goes by a zone, with a series of the office's load of four
// weeks before a time.
func localized(t *testing.T, by, of *time.Location, until time.Time, targets []Target) (*Agent, Handle) {
	t.Helper()
	a := New(DefaultConfig(), targets, NewGate(DefaultGateConfig(), noLock{}))
	h := a.Open(Series{Service: "shop", Metric: "p99", Role: grace.RoleLatency})
	a.Localize(Zones{Of: map[grace.ServiceID]*time.Location{"shop": by}})
	for at := until.Add(-28 * 24 * time.Hour); at.Before(until); at = at.Add(10 * time.Minute) {
		a.Append(h, at.UnixMilli(), office(at, of))
	}
	return a, h
}

// hoursOff gives by how much the forecast of the next two days is off, on average.
func hoursOff(t *testing.T, by, of *time.Location, until time.Time) float64 {
	t.Helper()
	a, h := localized(t, by, of, until, []Target{{Service: "shop", Metric: "p99", Op: ">", Threshold: 90, Code: grace.CodeLatencySpike}})
	a.Append(h, until.UnixMilli(), office(until, of)) // the hour before is over
	var r Refit
	var w forecast.Workspace
	if !a.NextRefit(&r, 1) {
		t.Fatal("there is nothing to forecast")
	}
	history, steps := r.byClock()
	f, ok := forecast.Fit(&w, forecast.Default(), history, refitAhead)
	if !ok {
		t.Fatal("no forecast")
	}
	f.Along(steps)
	ahead := f.Forecast()
	if !ahead.Start.Equal(until) || len(ahead.Points) < refitAhead-1 {
		t.Fatalf("%d hours from %v, want them from %v", len(ahead.Points), ahead.Start, until)
	}
	off := 0.0
	for i, v := range ahead.Points {
		off += math.Abs(v - office(ahead.Start.Add(time.Duration(i)*time.Hour), of))
	}
	return off / float64(len(ahead.Points))
}

// thresholdOff gives by how much the learned threshold of the next day is above what then
// comes, on average.
func thresholdOff(t *testing.T, by, of *time.Location, until time.Time) float64 {
	t.Helper()
	a, h := localized(t, by, of, until, nil)
	off, n := 0.0, 0.0
	for at := until; at.Before(until.Add(24 * time.Hour)); at = at.Add(10 * time.Minute) {
		v := office(at, of)
		a.Append(h, at.UnixMilli(), v)
		a.Evaluate(at)
		w := &a.at(h).watches[0]
		if !w.learned || w.breach.began != 0 {
			t.Fatalf("%v: %+v", at, w)
		}
		off += math.Abs(w.threshold - v)
		n++
	}
	return off / n
}

// A service that is busy at nine by its own clock is so on the day after the clocks are
// changed, and the days after. By UTC everything is an hour off.
func TestDaylightSaving(t *testing.T) {
	for name, changes := range map[string][]string{
		"Europe/Berlin":    {"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"},
		"America/New_York": {"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"},
	} {
		z := zone(t, name)
		for _, change := range changes {
			at, err := time.Parse(time.RFC3339, change)
			if err != nil {
				t.Fatal(err)
			}
			for _, hours := range []int{-7, 0, 1, 20, 9 * 24} { // a change ahead, at hand, and behind
				until := at.Add(time.Duration(hours) * time.Hour)
				zoned, utc := hoursOff(t, z, z, until), hoursOff(t, time.UTC, z, until)
				t.Logf("%s, %d h after %s: the forecast is %.2f off by the zone, %.2f by UTC", name, hours, change, zoned, utc)
				if zoned > utc/2 || zoned > 3 {
					t.Errorf("%s, %d h after %s: the forecast is %.2f off by the zone, %.2f by UTC", name, hours, change, zoned, utc)
				}
			}
			until := at.Add(12 * 24 * time.Hour).Truncate(24 * time.Hour)
			zoned, utc := thresholdOff(t, z, z, until), thresholdOff(t, time.UTC, z, until)
			t.Logf("%s, twelve days after %s: the threshold is %.2f off by the zone, %.2f by UTC", name, change, zoned, utc)
			if zoned > utc/2 {
				t.Errorf("%s, twelve days after %s: the threshold is %.2f off by the zone, %.2f by UTC", name, change, zoned, utc)
			}
		}
	}
}

// Weekdays and weekends have usual values of their own once both are known; until then
// weekends have that of the weekdays. So nothing is learned for Monday from Sunday, not
// even by a series that began on Friday.
func TestWeekends(t *testing.T) {
	z := zone(t, "America/New_York")
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, z)
	for _, days := range []int{3, 7, 14, 28} {
		a, h := localized(t, z, z, monday, nil)
		s := a.at(h)
		s.hours = hours{}
		for at := monday.AddDate(0, 0, -days); !at.After(monday); at = at.Add(10 * time.Minute) {
			s.hours.append(at.UnixMilli(), office(at, z))
		}
		at := func(day, hour int) float64 {
			s.hours.hour = monday.Add(time.Duration(24*day+hour)*time.Hour).Unix() / 3600
			return a.unusualValue(s)
		}
		saved := s.hours
		mondayNoon, sundayNoon, mondayNight := at(0, 12), at(-1, 12), at(0, 3)
		s.hours = saved
		if mondayNoon < 100 || mondayNoon > 130 || mondayNight > 50 {
			t.Errorf("%d days: beyond %.0f on Monday at noon, %.0f at night", days, mondayNoon, mondayNight)
		}
		if apart := sundayNoon < 50; apart != (days >= 14) {
			t.Errorf("%d days: beyond %.0f on Sunday at noon, %.0f on Monday", days, sundayNoon, mondayNoon)
		}
	}
	// Falling below what is usual of the weekend is odd on a weekday, and on no weekend.
	a, h := localized(t, z, z, monday, nil)
	falling := a.at(h).name()
	falling.Falls = true
	a.at(h).like = unique.Make(falling)
	a.at(h).hours.hour = monday.Add(12*time.Hour).Unix() / 3600
	if low := a.unusualValue(a.at(h)); low < 50 {
		t.Errorf("below %.0f on Monday at noon, where 100 is usual", low)
	}
}

// By a clock that is never changed all is as by UTC, as many hours later.
func TestZoneWithoutChange(t *testing.T) {
	kolkata := zone(t, "Asia/Kolkata")
	targets := []Target{{Service: "shop", Metric: "p99", Op: ">", Threshold: 90, Code: grace.CodeLatencySpike}}
	for _, given := range [][]Target{targets, nil} {
		tell := func(by *time.Location, later time.Duration) (blocks []float64, o outlook, threshold float64) {
			a := New(DefaultConfig(), given, NewGate(DefaultGateConfig(), noLock{}))
			a.Localize(Zones{Default: by})
			h := a.Open(Series{Service: "shop", Metric: "p99", Role: grace.RoleLatency})
			at := start.Truncate(7 * 24 * time.Hour)
			for range 27 * 24 * 6 {
				at = at.Add(10 * time.Minute)
				a.Append(h, at.Add(later).UnixMilli(), office(at, kolkata))
				a.look(a.at(h), at.Add(later).UnixMilli(), &Result{})
			}
			var r Refit
			if a.NextRefit(&r, 1) {
				r.Run(&forecast.Workspace{}, forecast.Default())
				a.Refitted(&r)
				blocks, o = r.limits[0].blocks, *a.at(h).watches[0].outlook
				o.at, o.breachAt = o.at-later.Milliseconds(), o.breachAt-later.Milliseconds()
				o.said = nil
			}
			return blocks, o, a.at(h).watches[0].threshold
		}
		wantBlocks, wantOutlook, wantThreshold := tell(time.UTC, 6*time.Hour)
		blocks, o, threshold := tell(kolkata, 0)
		if diff := cmp.Diff(wantBlocks, blocks); diff != "" {
			t.Error(diff)
		}
		if o.at != wantOutlook.at || o.breachAt != wantOutlook.breachAt || o.likelihood != wantOutlook.likelihood || threshold != wantThreshold {
			t.Errorf("%+v, threshold %v; by UTC %+v, threshold %v", o, threshold, wantOutlook, wantThreshold)
		}
		if given != nil && len(blocks) == 0 || given == nil && threshold == 0 {
			t.Error("nothing was learned")
		}
	}
}

// What precedes breaches, and what is odd, is told by the hours of the clock too.
func TestSeasonsOfDetectors(t *testing.T) {
	z := zone(t, "America/New_York")
	for _, targets := range [][]Target{nil, {{Service: "shop", Metric: "p99", Op: ">", Threshold: 90, Code: grace.CodeLatencySpike}}} {
		a, h := localized(t, z, z, time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC), targets)
		ahead := func() int8 {
			s := a.at(h)
			if s.odd != nil {
				return s.odd.Ahead
			}
			return s.watches[0].early.Ahead
		}
		if got := ahead(); got != -5 {
			t.Errorf("%d hours ahead of UTC in winter", got)
		}
		a.Append(h, time.Date(2026, 3, 9, 12, 0, 0, 0, time.UTC).UnixMilli(), 20)
		if got := ahead(); got != -4 {
			t.Errorf("%d hours ahead of UTC in summer", got)
		}
	}
}
