package daemon

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/config"
	"grace/sensor/alertmanager"
	"grace/sensor/otlp"
	"grace/sensor/remotewrite"
)

const (
	// maxSkipped bounds the kinds of skipped alerts that are remembered.
	maxSkipped = 100
	// maxLogged bounds the skipped alerts of one request that are logged.
	maxLogged = 5
)

// skipped remembers alerts that were not taken.
type skipped struct {
	mu    sync.Mutex
	total map[string]uint64
	list  map[[2]string]*api.SkippedAlerts // by alert and kind
}

func (s *skipped) add(problems []alertmanager.Skipped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total == nil {
		s.total, s.list = map[string]uint64{}, map[[2]string]*api.SkippedAlerts{}
	}
	for _, p := range problems {
		s.total[p.Kind] += p.Count
		k := [2]string{p.Alert, p.Kind}
		one := s.list[k]
		if one == nil {
			if len(s.list) >= maxSkipped {
				s.forgetOldest()
			}
			one = &api.SkippedAlerts{}
			s.list[k] = one
		}
		one.Skipped, one.Last = p, now()
		one.Times++
	}
}

// forgetOldest makes room. The caller holds the lock.
func (s *skipped) forgetOldest() {
	var oldest [2]string
	for k, one := range s.list {
		if o := s.list[oldest]; o == nil || one.Last.Before(o.Last) {
			oldest = k
		}
	}
	delete(s.list, oldest)
}

func (s *skipped) counts() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.total)
}

// newest gives what is remembered, newest first.
func (s *skipped) newest() []api.SkippedAlerts {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]api.SkippedAlerts, 0, len(s.list))
	for _, one := range s.list {
		out = append(out, *one)
	}
	slices.SortFunc(out, func(a, b api.SkippedAlerts) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Alert, b.Alert), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

// senders is the daemon as the API sees it where alerts come in.
type senders struct{ *Daemon }

var _ api.Alerts = senders{}

// Alertmanager gives what the webhook trusts now, its secrets resolved.
func (d senders) Alertmanager() api.Alertmanager {
	c := d.config().Alertmanager
	out := api.Alertmanager{Mapping: c.Mapping()}
	bearer, _, err := grace.ExpandSecrets(c.Bearer)
	hmac, _, errHMAC := grace.ExpandSecrets(c.HMAC)
	if err != nil || errHMAC != nil {
		// Without its secret the webhook only takes tokens of our own.
		d.log.Error("the Alertmanager webhook's secret cannot be read", "bearer", err, "hmac", errHMAC)
		return out
	}
	out.Bearer, out.HMAC = bearer, []byte(hmac)
	return out
}

// NotTaken meets api.Alerts.
func (d senders) NotTaken() []api.SkippedAlerts { return d.skipped.newest() }

// Skipped meets api.Alerts.
func (d senders) Skipped(problems []alertmanager.Skipped) {
	d.skipped.add(problems)
	for i, p := range problems {
		if i == maxLogged {
			d.log.Warn("more alerts were not taken", "count", len(problems)-i)
			return
		}
		d.log.Warn("an alert was not taken", "alert", p.Alert, "fingerprint", p.Fingerprint, "kind", p.Kind, "reason", p.Reason, "count", p.Count)
	}
}

// ownSensors are the names under which GRACE's own receivers, and what it
// concludes itself, speak.
func ownSensors() []string {
	return []string{alertmanager.Sensor, alertmanager.SensorPrometheus, otlp.Sensor, remotewrite.Sensor, "objective", "predict"}
}

// reserved tells whether a name belongs to a sensor of GRACE's own.
func (d *Daemon) reserved(name string) bool {
	if slices.Contains(ownSensors(), name) {
		return true
	}
	for _, dom := range d.domains {
		if dom.Name() == name {
			return true
		}
	}
	return slices.ContainsFunc(d.config().Sensors, func(s config.SensorSpec) bool { return s.Name() == name }) || d.sensors != nil && d.sensors.named(name)
}

// alertReader makes the sensor that reads what Alertmanager holds, if it is
// configured.
func (d *Daemon) alertReader(c config.Alertmanager) (grace.Sensor, error) {
	return alertmanager.NewReader(alertmanager.ReaderConfig{
		URL: c.URL, Client: c.HTTP.Config(), Mapping: c.Mapping(), Every: c.ReadEvery, Came: d.webhooks,
		Known: d.known, Skipped: senders{d}.Skipped,
	})
}

// Heed leaves out that alerts are over which Alertmanager's list says: it tells
// what has ended from what nobody had sent again, and is read in a moment. So it does
// of those that fire: Alertmanager may notify of what it was sent long ago.
func (d senders) Heed(samples []grace.Sample) []grace.Sample {
	r := d.alerts.Load()
	if r == nil || d.config().Alertmanager.URL == "" {
		return samples
	}
	now, out := time.Now(), []grace.Sample{}
	for _, s := range samples {
		switch {
		case s.Sensor != alertmanager.Sensor:
		case s.Resolved && r.Decides(s, now):
			continue
		case !s.Resolved:
			s.Repeated = s.StartsAt // it was sent then, at least
		}
		out = append(out, s)
	}
	return out
}

// Came meets api.Alerts.
func (d senders) Came() {
	select {
	case d.webhooks <- struct{}{}:
	default: // it will be anyway
	}
}

// known are the signals that GRACE holds. A look at the surroundings has no loop,
// and holds none.
func (d *Daemon) known() []grace.Signal {
	if d.loop == nil {
		return nil
	}
	return d.loop.Signals()
}

// byAlertsAlone gives the services that no sensor looks at: what becomes of them only
// alerts tell.
func (d *Daemon) byAlertsAlone() (out []grace.ServiceID) {
	watched := map[grace.ServiceID]bool{}
	for _, s := range d.loop.Signals() {
		watched[s.Service] = watched[s.Service] || s.Kind != grace.SignalAlert
	}
	for _, s := range d.loop.Graph().Services() {
		if s.Domain == "" && !watched[s.ID] {
			out = append(out, s.ID)
		}
	}
	return out
}
