package daemon_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"grace"
	"grace/internal/patience"
)

// TestForetoldAsItIs: the event of the system before GRACE, verbatim, is an entry of the ledger and is
// said to others once, by GRACE; sent back, it is none of theirs.
func TestForetoldAsItIs(t *testing.T) {
	t.Parallel()
	const original = `{"event_type":"self_heal.prediction","source":"predictor","actor":"system","resource":"service/shop",
		"payload":{"code":"capacity","title":"shop runs full","likelihood":0.85,"impact":"medium","suggested_playbooks":["scale_up_instances"]}}`
	_, c := newHome(t, queueObjective).embed(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/events/stream?types=self_heal.prediction", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	post := func(text string) string {
		status, answer, err := c.try(http.MethodPost, "/api/events", json.RawMessage(text))
		if err != nil || status != http.StatusAccepted {
			t.Fatalf("%d %s, %v", status, answer, err)
		}
		return string(answer)
	}
	post(original)
	stream := bufio.NewScanner(resp.Body)
	heard := func() (e grace.Event) {
		t.Helper()
		for stream.Scan() {
			if data, ok := strings.CutPrefix(stream.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
		t.Fatalf("the stream has ended: %v", stream.Err())
		return e
	}
	e := heard()
	for _, want := range []string{`"code":"capacity"`, `"title":"shop runs full"`, `"likelihood":0.85`, `"impact":"medium"`, `"suggested_playbooks":["scale_up_instances"]`, `"rule":"external"`} {
		if !strings.Contains(string(e.Payload), want) {
			t.Errorf("%s lacks %s", e.Payload, want)
		}
	}
	back, err := json.Marshal(map[string]any{"event_type": e.Type, "source": "bridge", "resource": e.Resource, "payload": e.Payload})
	if err != nil {
		t.Fatal(err)
	}
	shadow := strings.Replace(string(back), `"shadow":true`, `"shadow":false`, 1) // by default all is
	if answer := post(shadow); !strings.Contains(answer, `"ignored":1`) {
		t.Error(answer)
	}
	patience.Until(t, func() error {
		if n := len(items[grace.Prediction](c, "/api/predictions?rule=external")); n != 1 {
			return fmt.Errorf("%d entries", n)
		}
		return nil
	})
	post(strings.Replace(original, "runs full", "runs full again", 1))
	if e := heard(); !strings.Contains(string(e.Payload), "again") {
		t.Errorf("the echo was passed on: %s", e.Payload)
	}
}
