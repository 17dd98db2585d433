package daemon

import (
	"log/slog"
	"time"

	"grace/internal/series"
)

// refusedEvery is how often the log tells of refused samples: senders that are
// told may not have anybody who reads it.
const refusedEvery = time.Minute

// refusals tells the log which samples were refused, and why.
type refusals struct {
	log    *slog.Logger
	told   map[series.Reason]uint64
	toldAt time.Time
}

// look tells what came since it last told, once in refusedEvery at most.
func (r *refusals) look(samples []series.ReasonCount, now time.Time) {
	if !r.toldAt.IsZero() && now.Sub(r.toldAt) < refusedEvery {
		return
	}
	var news []any
	for _, s := range samples {
		if n := s.Count - r.told[s.Reason]; n > 0 && s.Reason.Refused() {
			news = append(news, slog.Uint64(s.Reason.String(), n))
		}
	}
	if news == nil {
		return
	}
	r.toldAt = now
	r.told = make(map[series.Reason]uint64, len(samples))
	for _, s := range samples {
		r.told[s.Reason] = s.Count
	}
	r.log.Warn("samples of senders were refused; docs/telemetry.md has the reasons", news...)
}
