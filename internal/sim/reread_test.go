package sim

import (
	"slices"
	"testing"
	"time"

	"grace"
)

// rereads: a service is down while the configuration is read again with every look.
func rereads(st *Story) {
	eager(st)
	st.Events = []Event{
		{At: 50 * time.Second, Kind: Reread, For: 10 * time.Minute, Amount: sampleEvery.Seconds()},
		{At: time.Minute, Kind: Crash, Target: string(st.Services[0].ID)},
	}
}

// TestRereadsPutNothingOff: what is down is healed as soon as ever while the
// configuration is read again and again as it is.
func TestRereadsPutNothingOff(t *testing.T) {
	t.Parallel()
	healed := func(from int) time.Duration {
		t.Helper()
		st := Write(1)
		rereads(&st)
		st.Events = st.Events[from:]
		r, err := Play(t.Context(), st, Mutations{})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Violations {
			t.Error(v)
		}
		i := slices.IndexFunc(r.Log.Runs, func(run grace.Run) bool { return run.Status == grace.RunSucceeded })
		if i < 0 {
			t.Fatalf("nothing was healed: %+v", r.Log.Runs)
		}
		return r.Log.Runs[i].CreatedAt.Sub(r.Log.Audit[0].At)
	}
	if reread, undisturbed := healed(0), healed(1); reread != undisturbed {
		t.Errorf("healed after %s, and after %s while the configuration is read again", undisturbed, reread)
	}
}
