package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/patience"
	"grace/sensor/alertmanager"
)

var received = time.Date(2026, 3, 1, 14, 15, 0, 0, time.UTC)

func body(alerts ...string) []byte {
	return []byte(`{"version":"4","groupKey":"{}","status":"firing","receiver":"grace","truncatedAlerts":0,"alerts":[` + strings.Join(alerts, ",") + `]}`)
}

const (
	down     = `{"status":"firing","labels":{"alertname":"InstanceDown","service":"shop","code":"service_down","severity":"critical"},"annotations":{"summary":"shop is down"},"startsAt":"2026-03-01T14:10:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"f1"}`
	up       = `{"status":"resolved","labels":{"alertname":"InstanceDown","service":"shop","code":"service_down","severity":"critical"},"startsAt":"2026-03-01T14:10:00Z","endsAt":"2026-03-01T14:14:00Z","fingerprint":"f1"}`
	unmapped = `{"status":"firing","labels":{"alertname":"Watchdog"},"startsAt":"2026-03-01T14:10:00Z","fingerprint":"f2"}`
)

// parse reads a webhook.
func parse(data []byte, m alertmanager.Mapping, at time.Time) ([]grace.Sample, []alertmanager.Skipped, error) {
	b, err := alertmanager.ReadWebhook(bytes.NewReader(data), 1<<20, m, at)
	return b.Samples, b.Skipped, err
}

func TestParse(t *testing.T) {
	labels := map[string]string{"alertname": "InstanceDown", "service": "shop", "code": "service_down", "severity": "critical"}
	want := grace.Sample{
		Service: "shop", Sensor: "alertmanager", Metric: "InstanceDown", Kind: grace.SampleAlert, Value: 1, At: received,
		Code: "service_down", Severity: grace.SeverityCritical, Fingerprint: "f1", Message: "shop is down", Labels: labels,
		StartsAt: time.Date(2026, 3, 1, 14, 10, 0, 0, time.UTC),
	}
	over := want
	over.Value, over.Resolved, over.Message = 0, true, ""
	samples, problems, err := parse(body(down, unmapped, up), alertmanager.Mapping{}, received)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]grace.Sample{want, over}, samples); d != "" {
		t.Error(d)
	}
	if len(problems) != 1 || problems[0].Alert != "Watchdog" || problems[0].Fingerprint != "f2" || !strings.Contains(problems[0].Reason, "no service") {
		t.Errorf("problems %v", problems)
	}
}

func TestTruncated(t *testing.T) {
	data := strings.Replace(string(body(down)), `"truncatedAlerts":0`, `"truncatedAlerts":7`, 1)
	samples, problems, err := parse([]byte(data), alertmanager.Mapping{}, received)
	if err != nil || len(samples) != 1 || len(problems) != 1 || !strings.Contains(problems[0].Reason, "7 alerts") {
		t.Errorf("%v %v %v", samples, problems, err)
	}
}

func TestMalformed(t *testing.T) {
	for name, data := range map[string]string{
		"not JSON":  "version: 4",
		"no alerts": `{"version":"4","alerts":[]}`,
		"cut":       string(body(down))[:200],
	} {
		if samples, _, err := parse([]byte(data), alertmanager.Mapping{}, received); err == nil || samples != nil {
			t.Errorf("%s: samples %v, error %v", name, samples, err)
		}
	}
	for name, tt := range map[string]struct{ old, new, want string }{
		"status": {`"firing"`, `"pending"`, "status"},
		"time":   {`2026-03-01T14:10:00Z`, `yesterday`, "read the alert"},
		"labels": {`{"alertname"`, `[{"alertname"`, ""},
	} {
		bad := strings.Replace(down, tt.old, tt.new, 1)
		samples, problems, err := parse(body(bad, up), alertmanager.Mapping{}, received)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		if err != nil || len(samples) != 1 || len(problems) != 1 || !strings.Contains(problems[0].String(), tt.want) {
			t.Errorf("%s: samples %d, problems %v, error %v", name, len(samples), problems, err)
		}
	}
}

func TestMapping(t *testing.T) {
	m := alertmanager.Mapping{
		ServiceLabel: "job", CodeLabel: "grace_code", SeverityLabel: "prio",
		Map: []alertmanager.Rule{
			{Match: map[string]string{"alertname": "HighLatency", "env": "prod"}, Code: grace.CodeLatencySpike, Severity: grace.SeverityInfo},
			{Match: map[string]string{"alertname": "HighLatency"}, Service: "staging", Code: grace.CodeCapacity},
			{Match: map[string]string{"alertname": "Disk*|Volume*", "mount": "!"}, Service: "${namespace}-${app}", Code: "capacity_disk"},
			{Match: map[string]string{"alertname": "Net", "host": `~h-\d+`}, Code: "hosts"},
			{Match: map[string]string{"alertname": "Net", "host": ""}, Service: "${job}", Code: "unreachable"},
			{Match: map[string]string{"alertname": "Net"}, Code: "unreachable"},
		},
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		labels   string
		service  grace.ServiceID
		code     grace.Code
		severity grace.Severity
	}{
		{`"alertname":"HighLatency","env":"prod","job":"cart"`, "cart", grace.CodeLatencySpike, grace.SeverityInfo},
		{`"alertname":"HighLatency","job":"cart","prio":"page"`, "staging", grace.CodeCapacity, grace.SeverityCritical},
		{`"alertname":"Other","job":"cart","grace_code":"cache_cold"`, "cart", grace.CodeCacheCold, grace.SeverityWarning},
		{`"alertname":"Other","job":"cart","grace_code":"cache_cold","prio":"none"`, "cart", grace.CodeCacheCold, grace.SeverityInfo},
		{`"alertname":"Other","job":"cart"`, "cart", grace.CodeInvestigation, grace.SeverityWarning},
		{`"alertname":"Other"`, "", "", ""},
		{`"alertname":"DiskFull","namespace":"eu","app":"db","mount":"/var"`, "eu-db", "capacity_disk", grace.SeverityWarning},
		{`"alertname":"DiskFull","namespace":"eu","app":"db"`, "", "", ""},
		{`"alertname":"Other","job":"core"`, "", "", ""},
		{`"alertname":"Net","job":"core.database"`, "", "", ""}, // which no rule leads elsewhere
		{`"alertname":"Other","job":"corelib"`, "corelib", grace.CodeInvestigation, grace.SeverityWarning},
		{`"alertname":"Net","job":"${env:HOME}"`, "${env:HOME}", "unreachable", grace.SeverityWarning},
		{`"alertname":"Net","job":"lb","host":"h-12"`, "lb", "hosts", grace.SeverityWarning},
		{`"alertname":"Net","job":"lb","host":"h-12x"`, "lb", "unreachable", grace.SeverityWarning},
	} {
		a := `{"status":"firing","labels":{` + tt.labels + `},"startsAt":"2026-03-01T14:10:00Z","fingerprint":"f"}`
		samples, problems, err := parse(body(a), m, received)
		if err != nil {
			t.Fatal(err)
		}
		if tt.service == "" {
			if len(problems) != 1 {
				t.Errorf("%s: want a problem, got %v", tt.labels, samples)
			}
			continue
		}
		if len(samples) != 1 {
			t.Errorf("%s: %v", tt.labels, problems)
			continue
		}
		if s := samples[0]; s.Service != tt.service || s.Code != tt.code || s.Severity != tt.severity {
			t.Errorf("%s: led to %s %s %s", tt.labels, s.Service, s.Code, s.Severity)
		}
	}
}

func TestMappingValidate(t *testing.T) {
	match := map[string]string{"a": "b"}
	for name, r := range map[string]alertmanager.Rule{
		"no match": {Service: "x"}, "gives nothing": {Match: match}, "bad severity": {Match: match, Severity: "page"},
		"open template": {Match: match, Service: "${job"}, "secret": {Match: match, Service: "${env:HOME}"},
		"regular expression": {Match: map[string]string{"a": "~("}, Service: "x"},
	} {
		if (alertmanager.Mapping{Map: []alertmanager.Rule{r}}).Validate() == nil {
			t.Errorf("%s is valid", name)
		}
	}
}

func TestVerify(t *testing.T) {
	const token = "s3cret"
	for header, ok := range map[string]bool{
		"Bearer s3cret": true, "bearer s3cret": true, "Bearer s3cre": false, "Bearer s3cret2": false,
		"Bearer ": false, "": false, "Basic s3cret": false, "s3cret": false,
	} {
		if err := alertmanager.VerifyBearer(header, token); (err == nil) != ok || (err != nil && !errors.Is(err, alertmanager.ErrUnauthorized)) {
			t.Errorf("bearer %q: %v", header, err)
		}
	}
	if alertmanager.VerifyBearer("Bearer ", "") == nil {
		t.Error("an empty token lets everybody in")
	}
	data, key := body(down), []byte("key")
	now := time.Unix(1700000000, 0)
	good := alertmanager.Sign(data, key, now)
	// The known answer of another implementation: printf '1700000000.' | openssl dgst -sha256 -hmac key
	if got := alertmanager.Sign(nil, key, now); got != "t=1700000000,sha256=0f1cc1f811f42fd12af9618acf321769899fa521fe07a642f70a61785e130770" {
		t.Errorf("signature of nothing: %s", got)
	}
	signed := func(off time.Duration) string { return alertmanager.Sign(data, key, now.Add(off)) }
	for name, tt := range map[string]struct {
		header string
		body   []byte
		key    []byte
		ok     bool
	}{
		"good": {good, data, key, true}, "other body": {good, append(slices.Clone(data), ' '), key, false},
		"other key": {good, data, []byte("kez"), false}, "no header": {"", data, key, false},
		"no prefix": {good[7:], data, key, false}, "not hex": {"t=1700000000,sha256=zz", data, key, false},
		"short": {good[:40], data, key, false}, "empty key": {alertmanager.Sign(data, nil, now), data, nil, false},
		"a little late": {signed(-alertmanager.Tolerance), data, key, true}, "too late": {signed(-alertmanager.Tolerance - time.Second), data, key, false},
		"too early": {signed(alertmanager.Tolerance + time.Second), data, key, false}, "another time": {strings.Replace(good, "t=17", "t=18", 1), data, key, false},
		"no time": {strings.Replace(good, "t=1700000000,", "", 1), data, key, false},
	} {
		if err := alertmanager.VerifyHMAC(tt.body, tt.header, tt.key, now); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every alert ends as one sample or one problem, and a sample is whole.
func FuzzParse(f *testing.F) {
	f.Add(body(down, up, unmapped))
	f.Add(body(`{}`))
	f.Add(body(`{"status":"firing","labels":{"service":"\u0000","code":"x"},"startsAt":"2026-03-01T14:10:00Z","fingerprint":"f"}`))
	f.Add([]byte(`{"version":"4","alerts":[1,null,"x"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, problems, err := parse(data, alertmanager.Mapping{}, received)
		if err != nil {
			if samples != nil || problems != nil {
				t.Error("an error and a result")
			}
			return
		}
		var p struct {
			Alerts []json.RawMessage
		}
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatalf("taken although it is not JSON: %v", err)
		}
		if len(samples)+len(problems) < len(p.Alerts) {
			t.Errorf("%d alerts became %d samples and %d problems", len(p.Alerts), len(samples), len(problems))
		}
		for _, s := range samples {
			if s.Service == "" || s.Code == "" || s.Fingerprint == "" || s.Metric == "" || s.Severity == "" || s.At.IsZero() {
				t.Errorf("not whole: %+v", s)
			}
			if text := fmt.Sprint(s); text != grace.CleanOutput(text) {
				t.Errorf("cannot be stored: %q", text)
			}
		}
	})
}

// An unmodified Alertmanager sends an alert and then its resolution.
func TestRealAlertmanager(t *testing.T) {
	bin, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Skip("Alertmanager is missing; install it with: apt-get install prometheus-alertmanager")
	}
	bodies := make(chan []byte, 16)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := alertmanager.VerifyBearer(r.Header.Get("Authorization"), "hook-token"); err != nil {
			t.Error(err)
		}
		data, _ := io.ReadAll(r.Body)
		bodies <- data
	}))
	defer hook.Close()
	url := startAlertmanager(t, bin, hook.URL)
	post := func(ends time.Time) {
		t.Helper()
		alert := map[string]any{"labels": map[string]string{"alertname": "Down", "service": "shop", "code": "service_down"}, "startsAt": time.Now().Add(-time.Minute)}
		if !ends.IsZero() {
			alert["endsAt"] = ends
		}
		data, _ := json.Marshal([]any{alert})
		resp, err := http.Post(url+"/api/v2/alerts", "application/json", strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("posting an alert: %s", resp.Status)
		}
	}
	next := func() grace.Sample {
		t.Helper()
		data := patience.Next(t, "call by Alertmanager", bodies)
		samples, problems, err := parse(data, alertmanager.Mapping{}, time.Now())
		if err != nil || len(problems) != 0 || len(samples) != 1 {
			t.Fatalf("%v %v %v of %s", samples, problems, err, data)
		}
		return samples[0]
	}
	post(time.Time{})
	fired := next()
	post(time.Now())
	over := next()
	if fired.Resolved || !over.Resolved || fired.Fingerprint != over.Fingerprint || fired.Service != "shop" {
		t.Errorf("fired %+v, resolved %+v", fired, over)
	}
}

func startAlertmanager(t *testing.T, bin, hook string) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "am.yml")
	text := "route: {receiver: grace, group_by: [alertname], group_wait: 50ms, group_interval: 200ms, repeat_interval: 1h}\n" +
		"receivers: [{name: grace, webhook_configs: [{url: '" + hook + "', send_resolved: true, http_config: {authorization: {credentials: hook-token}}}]}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(bin, "--config.file="+config, "--storage.path="+dir, "--web.listen-address="+addr, "--cluster.listen-address=")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	patience.Until(t, func() error {
		resp, err := http.Get("http://" + addr + "/-/ready")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("Alertmanager is not ready: %s", resp.Status)
		}
		return nil
	})
	return "http://" + addr
}
