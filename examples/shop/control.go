package shop

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// routes is the platform's API.
func (p *platform) routes() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, answer func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, answer()) })
	}
	get("/healthz", func() any { return p.state })
	get("/effects", func() any { return p.effects.list() })
	get("/load", func() any { return p.loads.status() })
	get("/services", func() any {
		var all []Status
		for _, sp := range specs() {
			all = append(all, p.services[sp.name].status())
		}
		return all
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}))
	for path, read := range reads() {
		mux.HandleFunc("GET /services/{service}"+path, func(w http.ResponseWriter, req *http.Request) {
			c := refuse(http.StatusNotFound, "no service %s", req.PathValue("service"))
			if s, ok := p.services[req.PathValue("service")]; ok {
				c = read(s, req)
			}
			reply(w, c.status, c.body)
		})
	}
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, req *http.Request) {
		reply(w, http.StatusOK, p.listFaults(req.URL.Query().Get("all") == "true"))
	})
	mux.HandleFunc("POST /load", p.takeLoad)
	mux.HandleFunc("POST /faults", p.effects.once(p.inject))
	mux.HandleFunc("DELETE /faults/{id}", p.effects.once(p.heal))
	mux.HandleFunc("POST /shutdown", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusAccepted, p.state)
		_ = http.NewResponseController(w).Flush()
		p.stop()
	})
	for path, do := range map[string]func(context.Context, *service, *http.Request) change{
		"restart":        p.restart,
		"scale":          p.scale,
		"flags/{flag}":   p.setFlag,
		"loglevel":       p.setLevel,
		"breakers/flush": p.flushBreakers,
		"cache/warm":     p.warmCache,
	} {
		mux.HandleFunc("POST /services/{service}/"+path, p.effects.once(p.on(do)))
	}
	return mux
}

// reads answers GET of a service: all of it, and by itself each thing that a
// playbook takes a snapshot of, so that two snapshots differ only when it does.
func reads() map[string]func(*service, *http.Request) change {
	return map[string]func(*service, *http.Request) change{
		"": func(s *service, _ *http.Request) change {
			return change{status: http.StatusOK, body: s.status()}
		},
		"/scale": func(s *service, _ *http.Request) change {
			return change{status: http.StatusOK, body: map[string]int{"instances": len(s.all())}}
		},
		"/loglevel": func(s *service, _ *http.Request) change {
			return change{status: http.StatusOK, body: map[string]string{"level": strings.ToLower(s.desired().Level)}}
		},
		"/flags/{flag}": func(s *service, req *http.Request) change {
			on, ok := s.desired().Flags[req.PathValue("flag")]
			if !ok {
				return refuse(http.StatusNotFound, "%s has no flag %s", s.spec.name, req.PathValue("flag"))
			}
			return change{status: http.StatusOK, body: map[string]bool{"enabled": on}}
		},
	}
}

// on finds the service and lets one change of it happen at a time. A change is
// carried through even when the caller goes away: with its key, the caller can
// come back for the answer.
func (p *platform) on(do func(context.Context, *service, *http.Request) change) func(*http.Request) change {
	return func(req *http.Request) change {
		s, ok := p.services[req.PathValue("service")]
		if !ok {
			return refuse(http.StatusNotFound, "no service %s", req.PathValue("service"))
		}
		s.op.Lock()
		defer s.op.Unlock()
		return do(context.WithoutCancel(req.Context()), s, req)
	}
}

func refuse(status int, format string, args ...any) change {
	return change{status: status, body: problem{fmt.Sprintf(format, args...)}}
}

// decode reads a strict body. An empty one leaves out as it is.
func decode(req *http.Request, out any) error {
	if req.ContentLength == 0 {
		return nil
	}
	d := json.NewDecoder(req.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return nil
}

// counts is the answer of restart and scale.
type counts struct {
	Before    int `json:"before"`
	Instances int `json:"instances"`
	Serving   int `json:"serving"`
}

func (p *platform) restart(ctx context.Context, s *service, _ *http.Request) change {
	before := len(s.all())
	// A leak is in the old processes; the new ones are to be without it.
	p.set(ctx, s, func(r *replicaState) { r.Leak = 0 })
	started, err := p.start(ctx, s, max(before, minInstances))
	if err != nil {
		return refuse(http.StatusServiceUnavailable, "restart %s: %v", s.spec.name, err)
	}
	s.replace(started)
	p.cure(s, "restart", Crash, Leak, SlowLeak)
	return change{http.StatusOK, counts{before, len(started), len(s.serving())}, true}
}

func (p *platform) scale(ctx context.Context, s *service, req *http.Request) change {
	var body struct {
		Delta     *int `json:"delta"`
		Instances *int `json:"instances"`
	}
	if err := decode(req, &body); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	if (body.Delta == nil) == (body.Instances == nil) {
		return refuse(http.StatusBadRequest, "want either delta or instances")
	}
	old := s.all()
	wanted := len(old)
	if body.Delta != nil {
		wanted += *body.Delta
	} else {
		wanted = *body.Instances
	}
	if wanted < minInstances || wanted > maxInstances {
		return refuse(http.StatusConflict, "%s has %d instances and can have %d to %d, not %d", s.spec.name, len(old), minInstances, maxInstances, wanted)
	}
	if wanted > len(old) {
		started, err := p.start(ctx, s, wanted-len(old))
		if err != nil {
			return refuse(http.StatusServiceUnavailable, "scale %s: %v", s.spec.name, err)
		}
		s.replace(append(old, started...))
	} else if wanted < len(old) {
		// The newest go, so that a scale up is taken back exactly.
		s.replace(old[:wanted])
	}
	return change{http.StatusOK, counts{len(old), wanted, len(s.serving())}, wanted != len(old)}
}

func (p *platform) setFlag(ctx context.Context, s *service, req *http.Request) change {
	flag := req.PathValue("flag")
	before, ok := s.desired().Flags[flag]
	if !ok {
		return refuse(http.StatusNotFound, "%s has no flag %s", s.spec.name, flag)
	}
	var body struct {
		Enabled *bool `json:"enabled"`
	}
	if err := decode(req, &body); err != nil || body.Enabled == nil {
		return refuse(http.StatusBadRequest, "want {\"enabled\": true or false}")
	}
	p.set(ctx, s, func(r *replicaState) { r.Flags[flag] = *body.Enabled })
	if !*body.Enabled {
		p.cure(s, "flag", ErrorsAfterFlag)
	}
	return change{http.StatusOK, map[string]any{"flag": flag, "before": before, "enabled": *body.Enabled}, before != *body.Enabled}
}

func (p *platform) setLevel(ctx context.Context, s *service, req *http.Request) change {
	var body struct {
		Level string `json:"level"`
		TTL   ttl    `json:"ttl"`
	}
	if err := decode(req, &body); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmp.Or(body.Level, "none"))); err != nil {
		return refuse(http.StatusBadRequest, "level %q: want debug, info, warn or error", body.Level)
	}
	before := s.desired().Level
	s.mu.Lock()
	s.until = time.Time{}
	if body.TTL > 0 {
		s.until = time.Now().Add(time.Duration(body.TTL))
	}
	s.mu.Unlock()
	p.set(ctx, s, func(r *replicaState) { r.Level = level.String() })
	return change{http.StatusOK, map[string]any{"before": strings.ToLower(before), "level": strings.ToLower(level.String())}, before != level.String()}
}

func (p *platform) flushBreakers(ctx context.Context, s *service, _ *http.Request) change {
	open := 0
	for _, r := range s.reports() {
		if r.BreakerOpen {
			open++
		}
	}
	p.set(ctx, s, func(r *replicaState) { r.BreakerStuck = false })
	p.each(s, func(i *instance) error {
		var r report
		_, err := request(ctx, p.client, http.MethodPost, i.base+"/admin/breakers/flush", nil, &r)
		if err == nil {
			i.last.Store(&r)
		}
		return err
	})
	p.cure(s, "flush", OpenBreaker)
	return change{http.StatusOK, map[string]any{"open_before": open}, open > 0}
}

func (p *platform) warmCache(ctx context.Context, s *service, req *http.Request) change {
	if s.spec.name != Cache {
		return refuse(http.StatusNotFound, "%s has no cache", s.spec.name)
	}
	body := struct {
		TTL ttl `json:"ttl"`
	}{TTL: ttl(fillTTL)}
	if err := decode(req, &body); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	products, err := p.dump(ctx)
	if err != nil {
		return refuse(http.StatusServiceUnavailable, "warm %s: %v", s.spec.name, err)
	}
	before := 0
	for _, r := range s.reports() {
		before += *r.Entries
	}
	p.set(ctx, s, func(r *replicaState) { r.Cold = false })
	p.each(s, func(i *instance) error {
		var r report
		_, err := request(ctx, p.client, http.MethodPut, i.base+"/admin/cache", warmRequest{TTL: time.Duration(body.TTL), Items: products}, &r)
		if err == nil {
			i.last.Store(&r)
		}
		return err
	})
	p.cure(s, "warm", ColdCache)
	return change{http.StatusOK, map[string]any{"before": before, "entries": len(products) * len(s.serving())}, true}
}

// ttl is a time to live: text ("10m") or seconds, not negative.
type ttl time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (t *ttl) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	d, err := time.ParseDuration(text)
	if err != nil {
		seconds, numErr := strconv.ParseFloat(text, 64)
		if numErr != nil {
			return fmt.Errorf("ttl %q: want a duration like 10m or a number of seconds", text)
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	if d < 0 {
		return fmt.Errorf("ttl %q: want 0 or more", text)
	}
	*t = ttl(d)
	return nil
}
