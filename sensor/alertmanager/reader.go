package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/httpclient"
)

// Defaults of ReaderConfig.
const (
	DefaultEvery   = 30 * time.Second
	defaultTimeout = 10 * time.Second
)

// afterWebhook is how long after the end of the last reading one for a webhook
// begins, at least.
const afterWebhook = 2 * time.Second

// DefaultResend is how long an Alertmanager that began, and was sent something, may
// lack alerts that go on: it keeps none over a restart, and Prometheus sends them
// again once a minute (rules.alert.resend-delay), with the next evaluation of their
// rule.
const DefaultResend = 3 * time.Minute

// emptyFor is how long a list is empty until it is believed without anything having
// been sent: who would send may be away.
const emptyFor = 15 * time.Minute

// missed is how many readings may fail until what they listed shows nothing any more.
const missed = 3

// ListMetric counts the alerts that an Alertmanager lists; it is also what a
// reading that failed is about.
const ListMetric = "alertmanager_alerts"

// ReaderConfig is how the alerts of an Alertmanager are read.
type ReaderConfig struct {
	URL     string // what /api/v2/alerts is under
	Client  httpclient.Config
	Mapping Mapping
	Every   grace.Duration // default 30s
	Timeout grace.Duration // of one reading; default 10s
	Resend  grace.Duration // within which all that goes on is sent again to one that began, once it is sent anything; default 3m
	Limit   int64          // most bytes of one list; default 64 MiB
	// Came is sent to when a webhook brought alerts: they are read soon, so that
	// GRACE knows which of them are listed here.
	Came <-chan struct{}
	// Known gives the alerts that GRACE holds, those of other sensors too.
	Known func() []grace.Signal
	// Skipped is told, once for each, of alerts that lead nowhere.
	Skipped func([]Skipped)
}

// Reader is the sensor that reads what an Alertmanager holds: at once when it
// begins, soon after a webhook, and every so often. An alert that is listed fires, whether its
// webhook came or not; one that was listed and is not any more is over (others
// may come by the same webhook from elsewhere), though not while the Alertmanager
// may not have been sent it again since it began: until Resend after its list held
// anything, or until it was empty for 15 minutes; nor when it has gone because nobody
// had sent it again until its endsAt: whoever sent it may be away, and it is stale. One
// that is silenced or inhibited says so. Where several are behind one address, one that none of them has listed for
// Resend is over. A reading that fails is a sample of kind sensor_error; after three
// of them what was listed is stale, and so is what is over since.
type Reader struct {
	cfg    ReaderConfig
	base   string
	client *httpclient.Client
	lost   atomic.Uint64
	told   map[string]bool               // fingerprints of listed alerts that lead nowhere
	uptime string                        // when the Alertmanager began, as it said last
	peers  map[string]peer               // by when they began, those of the last 15 minutes
	turns  time.Time                     // when it last was another one of them: several take turns
	empty  time.Time                     // since when its list is empty
	absent map[grace.SignalKey]time.Time // since when a list that holds others, or all, lacks it
	ends   map[grace.SignalKey]time.Time // until when it is listed unless it is sent again, by the list before
	lapsed map[grace.SignalKey]bool      // gone since nobody had sent it again

	mu     sync.Mutex
	readAt time.Time                // when the list was read last
	listed map[grace.SignalKey]bool // seen in a list since it began: not listed, it is over
}

// Decides tells whether an alert is over when the list says so, which is read soon
// after a webhook: that one's word does not tell what has ended from what nobody had
// sent again. While the list cannot be read that word is all there is.
func (r *Reader) Decides(s grace.Sample, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listed[keyOf(s)] && now.Sub(r.readAt) < 2*r.cfg.Every.D()+r.cfg.Timeout.D()
}

func keyOf(s grace.Sample) grace.SignalKey {
	return grace.SignalKey(string(s.Service) + "/" + s.Sensor + "/" + s.Metric + "/" + s.Fingerprint)
}

// peer is one Alertmanager of those behind the address.
type peer struct {
	fed   time.Time // when its list first held anything
	heard time.Time // the last time
}

var _ grace.Sensor = (*Reader)(nil)

// NewReader makes a reader, or says what is wrong with its configuration.
func NewReader(cfg ReaderConfig) (*Reader, error) {
	if cfg.Every <= 0 {
		cfg.Every = grace.Duration(DefaultEvery)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = grace.Duration(defaultTimeout)
	}
	if cfg.Resend <= 0 {
		cfg.Resend = grace.Duration(DefaultResend)
	}
	if cfg.Limit <= 0 {
		cfg.Limit = 64 << 20
	}
	if cfg.Known == nil {
		cfg.Known = func() []grace.Signal { return nil }
	}
	if cfg.Skipped == nil {
		cfg.Skipped = func([]Skipped) {}
	}
	r := &Reader{cfg: cfg, peers: map[string]peer{}}
	var socket string
	var err error
	if r.base, socket, err = httpclient.Target(cfg.URL); err != nil {
		return nil, fmt.Errorf("alertmanager: %w", err)
	}
	client := cfg.Client
	if socket != "" {
		client.UnixSocket = socket
	}
	client.Redirects = httpclient.RedirectSameOrigin
	if r.client, err = httpclient.New(client); err != nil {
		return nil, fmt.Errorf("alertmanager: %w", err)
	}
	return r, nil
}

// Name gives "alertmanager".
func (r *Reader) Name() string { return Sensor }

// Lost counts samples that the sink refused.
func (r *Reader) Lost() uint64 { return r.lost.Load() }

// Run reads until ctx is done.
func (r *Reader) Run(ctx context.Context, sink grace.Sink) error {
	defer r.client.CloseIdleConnections()
	next := time.NewTimer(0)
	defer next.Stop()
	var soonest time.Time // that a webhook has the list be read
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.cfg.Came:
			next.Reset(time.Until(soonest))
			continue
		case <-next.C:
		}
		began := time.Now()
		samples, err := r.read(ctx, began)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			samples = []grace.Sample{{
				Service: grace.CoreService, Sensor: Sensor, Metric: ListMetric, Kind: grace.SampleSensorError, At: time.Now(),
				Message: grace.Printable(err.Error()), Listed: true,
			}}
		}
		if err := sink.Observe(ctx, samples...); err != nil {
			r.lost.Add(uint64(len(samples)))
		}
		took := time.Since(began)
		soonest = time.Now().Add(min(max(afterWebhook, took), r.cfg.Every.D()))
		next.Reset(max(0, r.cfg.Every.D()-took))
	}
}

// listed is one alert of GET /api/v2/alerts.
type listed struct {
	alert
	State struct {
		State       string   `json:"state"`
		SilencedBy  []string `json:"silencedBy"`
		InhibitedBy []string `json:"inhibitedBy"`
		MutedBy     []string `json:"mutedBy"`
	} `json:"status"`
}

// read gives the samples of one reading.
func (r *Reader) read(ctx context.Context, began time.Time) ([]grace.Sample, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.Timeout.D(), fmt.Errorf("no whole answer within %s", r.cfg.Timeout))
	defer cancel()
	known := r.cfg.Known() // before: what comes by the webhook meanwhile is newer
	var list []json.RawMessage
	theirs, err := r.get(ctx, "/api/v2/alerts", &list)
	if err != nil {
		return nil, err
	}
	if theirs.IsZero() {
		theirs = began
	}
	m, err := r.cfg.Mapping.compile()
	if err != nil {
		return nil, err
	}
	out, now, ends, err := r.fires(ctx, list, m, began, theirs)
	if err != nil {
		return nil, err
	}
	whole, same, sent := r.knowsAll(ctx, began, theirs, len(list) > 0)
	alone := began.Sub(r.turns) >= emptyFor // else another one may list it still
	absent, lapsed := map[grace.SignalKey]time.Time{}, map[grace.SignalKey]bool{}
	listed := map[grace.SignalKey]bool{}
	before := r.listed
	if same && alone { // else the list may be of the one before
		listed = now
	} else {
		before = nil
	}
	unbroken := began.Sub(r.readAt) < r.lasts()
	for _, s := range known {
		if !s.Listed || s.Sensor != Sensor || s.Metric == ListMetric || now[s.Key] || s.State != grace.SignalFiring && s.State != grace.SignalStale {
			continue
		}
		if end := r.ends[s.Key]; r.lapsed[s.Key] || unbroken && !end.IsZero() && !theirs.Before(end) {
			lapsed[s.Key] = true
			continue
		}
		since := began
		if len(list) > 0 || whole {
			if first, ok := r.absent[s.Key]; ok {
				since = first
			}
			absent[s.Key] = since
		}
		listed[s.Key] = listed[s.Key] || before[s.Key] // until it is known to be over
		if whole && alone || before[s.Key] || began.Sub(since) >= r.cfg.Resend.D() {
			out = append(out, ended(s, began))
		}
	}
	r.absent, r.ends, r.lapsed = absent, ends, lapsed
	r.mu.Lock()
	r.listed, r.readAt = listed, began
	r.mu.Unlock()
	return append(out, grace.Sample{
		Service: grace.CoreService, Sensor: Sensor, Metric: ListMetric, Kind: grace.SampleMetric, Value: float64(len(list)), At: began,
		Listed: sent, Expires: began.Add(r.lasts()),
	}), nil
}

// fires gives the samples of the listed alerts, which of them are there, and until when
// each is listed unless it is sent again, by the clock of the Alertmanager: it read
// theirs at began.
func (r *Reader) fires(ctx context.Context, list []json.RawMessage, m *mapper, began, theirs time.Time) (
	out []grace.Sample, now map[grace.SignalKey]bool, ends map[grace.SignalKey]time.Time, err error,
) {
	silences := r.silences(ctx, list)
	now, ends = map[grace.SignalKey]bool{}, map[grace.SignalKey]time.Time{}
	var skipped []Skipped
	for _, raw := range list {
		var l listed
		if err := json.Unmarshal(raw, &l); err != nil {
			return nil, nil, nil, fmt.Errorf("read an alert of %s: %w", r.cfg.URL, err)
		}
		l.Status = json.RawMessage(`"firing"`)
		s, problem := m.sample(l.alert, began, source{sensor: Sensor})
		if problem != nil {
			skipped = append(skipped, *problem)
			continue
		}
		s.Silenced, s.Listed = l.by(silences), true
		s.Expires = began.Add(r.lasts())
		if !l.UpdatedAt.IsZero() { // theirs is of a whole second
			s.Repeated = began.Add(min(0, l.UpdatedAt.Sub(theirs)-time.Second))
		}
		key := keyOf(s)
		if !l.EndsAt.IsZero() {
			ends[key] = l.EndsAt
			if lapses := began.Add(l.EndsAt.Sub(theirs)); lapses.Before(s.Expires) {
				s.Expires = lapses
			}
		}
		out = append(out, s)
		now[key] = true
	}
	r.tell(skipped)
	return out, now, ends, nil
}

// knowsAll tells whether all that the Alertmanager does not list is over, whether it says
// that it is the same as at the reading before, and whether it has run for long enough to
// have been sent what lasts: what was over is over still. holds is whether it lists
// anything. By GRACE's own clock, theirs may be another; how long it has run is by theirs.
func (r *Reader) knowsAll(ctx context.Context, now, theirs time.Time, holds bool) (whole, same, sent bool) {
	var status struct {
		Uptime string `json:"uptime"`
	}
	_, err := r.get(ctx, "/api/v2/status", &status)
	says := err == nil && status.Uptime != ""
	other := says && status.Uptime != r.uptime
	if other {
		r.uptime = status.Uptime
		if _, known := r.peers[r.uptime]; known {
			r.turns = now
		} else {
			r.empty, r.absent = time.Time{}, nil
		}
	}
	p := r.peers[r.uptime]
	p.heard = now
	switch {
	case !holds && r.empty.IsZero():
		r.empty = now
	case holds:
		r.empty = time.Time{}
		if !other && p.fed.IsZero() { // else the list may be of the one before
			p.fed = now
		}
	}
	r.peers[r.uptime] = p
	maps.DeleteFunc(r.peers, func(_ string, p peer) bool { return now.Sub(p.heard) > emptyFor })
	if !r.empty.IsZero() && now.Sub(r.empty) >= emptyFor {
		return true, says && !other, true
	}
	began, err := time.Parse(time.RFC3339Nano, status.Uptime)
	sent = !says || err != nil || theirs.Sub(began)+time.Second >= r.cfg.Resend.D() // theirs is in whole seconds
	return says && !p.fed.IsZero() && now.Sub(p.fed) >= r.cfg.Resend.D(), says && !other, sent
}

// lasts is how long a reading shows something.
func (r *Reader) lasts() time.Duration { return missed*r.cfg.Every.D() + r.cfg.Timeout.D() }

// tell says what leads nowhere, once for as long as it is listed.
func (r *Reader) tell(skipped []Skipped) {
	now := map[string]bool{}
	var news []Skipped
	for _, p := range skipped {
		now[p.Fingerprint] = true
		if !r.told[p.Fingerprint] {
			news = append(news, p)
		}
	}
	r.told = now
	if len(news) > 0 {
		r.cfg.Skipped(news)
	}
}

// ended is the end of an alert that is not listed any more.
func ended(s grace.Signal, at time.Time) grace.Sample {
	prefix := string(s.Service) + "/" + s.Sensor + "/" + s.Metric + "/"
	return grace.Sample{
		Service: s.Service, Sensor: s.Sensor, Metric: s.Metric, Kind: grace.SampleAlert, Code: s.Code, Severity: s.Severity, At: at,
		Resolved: true, Fingerprint: strings.TrimPrefix(string(s.Key), prefix), StartsAt: s.StartsAt, Labels: s.Labels, Message: "Alertmanager does not list it any more",
	}
}

// by names what keeps the alert from being told.
func (l listed) by(silences map[string]string) string {
	var parts []string
	for _, id := range l.State.SilencedBy {
		text := "silence " + id
		if about := silences[id]; about != "" {
			text += " (" + about + ")"
		}
		parts = append(parts, text)
	}
	for _, id := range l.State.InhibitedBy {
		parts = append(parts, "inhibited by alert "+id)
	}
	for _, name := range l.State.MutedBy {
		parts = append(parts, "muted by "+name)
	}
	slices.Sort(parts)
	if len(parts) == 0 && l.State.State == "suppressed" {
		return "suppressed"
	}
	return cut(grace.Printable(strings.Join(parts, ", ")), maxText)
}

// silences gives who made each silence and why, if one is asked for. What
// cannot be read is left out: the ids say enough.
func (r *Reader) silences(ctx context.Context, list []json.RawMessage) map[string]string {
	if !slices.ContainsFunc(list, func(raw json.RawMessage) bool { return strings.Contains(string(raw), `"suppressed"`) }) {
		return nil
	}
	var all []struct {
		ID        string `json:"id"`
		CreatedBy string `json:"createdBy"`
		Comment   string `json:"comment"`
	}
	if _, err := r.get(ctx, "/api/v2/silences", &all); err != nil {
		return nil
	}
	out := map[string]string{}
	for _, s := range all {
		out[s.ID] = cut(s.CreatedBy+": "+s.Comment, MaxName)
	}
	return out
}

// get reads one JSON answer, and gives when it was given, zero when it does not say.
func (r *Reader) get(ctx context.Context, path string, into any) (at time.Time, err error) {
	url := strings.TrimRight(r.base, "/") + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return at, err
	}
	req.Header.Set("Accept", "application/json")
	resp, _, err := r.client.Do(req)
	if err != nil {
		return at, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text := fmt.Sprintf("%s answered %s, want 200", url, resp.Status)
		if to := resp.Header.Get("Location"); to != "" {
			text += "; it points to " + to
		}
		return at, errors.New(text)
	}
	limited := &io.LimitedReader{R: resp.Body, N: r.cfg.Limit}
	if err := json.NewDecoder(limited).Decode(into); err != nil {
		if limited.N <= 0 {
			return at, fmt.Errorf("%s answered more than %d bytes", url, r.cfg.Limit)
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return at, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	at, _ = http.ParseTime(resp.Header.Get("Date"))
	return at, nil
}
