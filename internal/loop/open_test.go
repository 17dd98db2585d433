package loop

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/decide"
)

// TestOpenMap: the map of the open runs is what it would be if it were made anew.
func TestOpenMap(t *testing.T) {
	var made openMap
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same every time
	status := []grace.RunStatus{grace.RunProposed, grace.RunRunning, grace.RunAwaitingApproval}
	for step := range 200 {
		var open []grace.OpenRun
		for i := range 30 {
			if r.IntN(3) == 0 {
				continue
			}
			open = append(open, grace.OpenRun{
				Run: grace.RunID(fmt.Sprint("r-", i)), Service: "web", Status: status[r.IntN(len(status))],
				Cone: []grace.ServiceID{grace.ServiceID(fmt.Sprint("s-", r.IntN(2)))}, CreatedAt: time.UnixMilli(int64(r.IntN(2))).UTC(),
			})
		}
		want := decide.MapOf(content.Map{}, open, func(r grace.OpenRun) string { return string(r.Run) })
		if got := made.of(open); got.Digest() != want.Digest() || got.Len() != len(open) {
			t.Fatalf("step %d: %d runs, want %d", step, got.Len(), len(open))
		}
	}
}
