package loop

import (
	"context"
	"errors"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/store"
)

// budget is how long one call computes before it gives a cursor to go on from.
const budget = 10 * time.Second

// span is what a replay or a backtest goes through: what was recorded between two
// times, or behind the cursor that an earlier call gave.
type span struct {
	from, to time.Time
	cursor   string
}

// errEnough: the time of a call is used up.
var errEnough = errors.New("enough for one call")

// through visits what was recorded, until the time of the call is used up: then it gives
// the cursor to go on from.
func (sp span) through(ctx context.Context, st *store.Store, visit func(rec grace.Recorded, forged bool)) (next string, err error) {
	began := time.Now()
	err = st.EachRecorded(ctx, st.Q(), sp.from, sp.to, sp.cursor, func(rec grace.Recorded, forged bool) error {
		if visit(rec, forged); time.Since(began) > budget {
			next = store.RecordedAfter(rec)
			return errEnough
		}
		return ctx.Err()
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return next, err
}

// Replay computes what was recorded between two times again, from what was recorded
// alone, and compares byte for byte.
func Replay(ctx context.Context, st *store.Store, from, to time.Time, cursor string) (out decide.Replayed, err error) {
	rd := newReader(ctx, st)
	out.Next, err = span{from, to, cursor}.through(ctx, st, func(rec grace.Recorded, forged bool) {
		if forged {
			out.Forged(rec, store.ErrForged)
			return
		}
		out.Add(rec, rd.Replay(rec))
	})
	return out, err
}

// Backtest computes what was recorded between two times under other rules.
func Backtest(ctx context.Context, st *store.Store, rules *decide.Rules, from, to time.Time, cursor string) (out decide.Backtested, err error) {
	rd := newReader(ctx, st)
	out.Next, err = span{from, to, cursor}.through(ctx, st, func(rec grace.Recorded, _ bool) { rd.Backtest(&out, rec, rules) })
	return out, err
}

// newReader reads what is recorded. Decisions of one configuration follow one another,
// and so do looks at the same signals: what was read last is kept.
func newReader(ctx context.Context, st *store.Store) *decide.Reader {
	blobs := map[grace.Digest][]byte{}
	return &decide.Reader{
		Get: func(d grace.Digest) ([]byte, error) {
			if blob, known := blobs[d]; known {
				return blob, nil
			}
			blob, err := st.Blob(ctx, st.Q(), d)
			if err != nil {
				return nil, err
			}
			const mostBlobs = 20_000
			if len(blobs) >= mostBlobs {
				clear(blobs)
			}
			blobs[d] = blob
			return blob, nil
		},
		Decision: func(id grace.DecisionID) (grace.Decision, error) { return st.Decision(ctx, st.Q(), id) },
	}
}
