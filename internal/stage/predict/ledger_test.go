package predict

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
)

const minuteMillis = int64(time.Minute / time.Millisecond)

// play gives a watch a sample every minute from 1 on, '#' beyond the threshold,
// '.' not and ' ' none. At every minute the ledger is asked.
func play(w *watch, series string, at map[int]func()) []resolved {
	cfg := DefaultLedgerConfig()
	var out []resolved
	var r ring
	for i, c := range series {
		now := int64(i+1) * minuteMillis
		if c != ' ' {
			r.append(now, 0)
			w.breach.append(&r, c == '#', cfg.Merge.D().Milliseconds())
		}
		if f := at[i+1]; f != nil {
			f()
		}
		out = w.resolve(now, r.last(), minuteMillis, cfg, out)
	}
	return out
}

func TestLedger(t *testing.T) {
	quiet := "............................................"
	tests := []struct {
		name      string
		series    string
		published bool // at minute 5, until minute 25
		acted     bool
		would     bool
		want      []grace.PredictionOutcome
		lead      time.Duration
	}{
		{"hit", "...............####...", true, false, false, []grace.PredictionOutcome{grace.PredictionTruePositive}, 11 * time.Minute},
		{"hit at the last moment, seen later", "........................####", true, false, false, []grace.PredictionOutcome{grace.PredictionTruePositive}, 20 * time.Minute},
		{"hit in shadow is missed", "...............####...", false, false, false, []grace.PredictionOutcome{grace.PredictionTruePositive, grace.PredictionFalseNegative}, 11 * time.Minute},
		{"too late", ".........................####........", true, false, false, []grace.PredictionOutcome{grace.PredictionFalsePositive, grace.PredictionFalseNegative}, 0},
		{"false", quiet, true, false, false, []grace.PredictionOutcome{grace.PredictionFalsePositive}, 0},
		{"single samples are no breach", ".......#....#.....#.....#..#......#....", true, false, false, []grace.PredictionOutcome{grace.PredictionFalsePositive}, 0},
		{"three of four are", "...........#.##.......", true, false, false, []grace.PredictionOutcome{grace.PredictionTruePositive}, 7 * time.Minute},
		{"prevented", quiet, true, true, true, []grace.PredictionOutcome{grace.PredictionPrevented}, 0},
		{"a remedy, and perhaps nothing to remedy", quiet, true, true, false, []grace.PredictionOutcome{grace.PredictionUnresolved}, 0},
		{"a remedy that did not help", "...............####...", true, true, true, []grace.PredictionOutcome{grace.PredictionTruePositive}, 11 * time.Minute},
		{"said when it had begun", ".#.##.........................", true, false, false, []grace.PredictionOutcome{grace.PredictionUnresolved, grace.PredictionFalseNegative}, 0},
		{"no data", ".....                          ", true, false, false, []grace.PredictionOutcome{grace.PredictionUnresolved}, 0},
		{"little data", ".....  .   .   .    .          ", true, false, false, []grace.PredictionOutcome{grace.PredictionUnresolved}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w watch
			got := play(&w, tt.series, map[int]func(){5: func() {
				c := Claim{Made: 5 * minuteMillis, Until: 25 * minuteMillis, Acted: tt.acted, WouldBreach: tt.would, samples: w.breach.count}
				if tt.published {
					c.Published = c.Made
				}
				w.open = append(w.open, open{0, c})
			}})
			var outcomes []grace.PredictionOutcome
			for _, r := range got {
				outcomes = append(outcomes, r.outcome)
				if r.outcome == grace.PredictionTruePositive && r.leadTime() != tt.lead {
					t.Errorf("lead %s", r.leadTime())
				}
				if r.outcome == grace.PredictionFalseNegative && r.shadow == tt.published {
					t.Errorf("foreseen in shadow: %v", r.shadow)
				}
			}
			if diff := cmp.Diff(tt.want, outcomes); diff != "" {
				t.Error(diff)
			}
			if w.open != nil {
				t.Errorf("left open: %+v", w.open)
			}
		})
	}
}

// A false prediction counts once, however often it is said while it is open.
func TestSpeakingLateMovesTheTime(t *testing.T) {
	var w watch
	got := play(&w, ".....................................####.....", map[int]func(){
		5: func() { w.open = append(w.open, open{0, Claim{Made: 5 * minuteMillis, Until: 25 * minuteMillis}}) },
		20: func() {
			w.claim(0).Published, w.claim(0).Until = 20*minuteMillis, 40*minuteMillis
		},
	})
	if len(got) != 1 || got[0].outcome != grace.PredictionTruePositive || got[0].leadTime() != 18*time.Minute {
		t.Errorf("got %+v", got)
	}
}

func TestBreachesMerge(t *testing.T) {
	var w watch
	calm := "............................" // 28 minutes
	got := play(&w, "...####"+calm+"####"+calm+calm+calm+"####...", nil)
	if len(got) != 2 || got[0].outcome != grace.PredictionFalseNegative || got[1].outcome != grace.PredictionFalseNegative {
		t.Fatalf("got %+v", got)
	}
	if got[0].began != 4*minuteMillis || got[1].began != (3+4+28+4+84+1)*minuteMillis {
		t.Errorf("began %d and %d", got[0].began/minuteMillis, got[1].began/minuteMillis)
	}
}

// A series with a sample an hour has one within the hour:
// that is enough to call a claim false.
func TestSlowSeriesAreJudged(t *testing.T) {
	const hour = 60 * minuteMillis
	var w watch
	cfg := DefaultLedgerConfig()
	var got []resolved
	var r ring
	for i := int64(1); i <= 12; i++ {
		r.append(i*hour, 0)
		w.breach.append(&r, false, hour)
		got = w.resolve(i*hour, r.last(), hour, cfg, got)
		if i == 10 {
			w.open = append(w.open, open{0, Claim{Made: 10 * hour, Until: 11 * hour, samples: w.breach.count}})
		}
	}
	if len(got) != 1 || got[0].outcome != grace.PredictionFalsePositive || got[0].at != 11*hour {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkBreachAppend(b *testing.B) {
	var s breachState
	var r ring
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		r.append(i*1000, 0)
		s.append(&r, i%7 == 0, 3600e3)
	}
}
