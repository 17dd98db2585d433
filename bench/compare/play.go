package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"grace/examples/shop"
)

const (
	warmUp     = 20 * time.Second // before the first fault: a healer learns what is normal
	settleWait = 90 * time.Second // at most, until all is calm again
	contentFor = 10               // good seconds before the next fault
	afterwards = 20 * time.Second // watched on after a recovery
	lookEvery  = 500 * time.Millisecond
	breachLog  = 5 // breaches kept with their reason
)

// cost is what a healer took of the machine.
type cost struct {
	Minutes    float64 `json:"minutes"` // that it ran
	CPUSeconds float64 `json:"cpu_s"`
	PeakMiB    float64 `json:"peak_rss_mib"` // sum over its processes
}

// result is all of one healer.
type result struct {
	contender
	GivenS float64   `json:"given_s"`
	Faults []outcome `json:"faults"`
	Cost   cost      `json:"cost"`
	// Between counts actions while no fault was on: while warming up, and after
	// a fault's time until the next. Missing where it was not counted.
	Between *int   `json:"between_faults,omitempty"`
	Note    string `json:"note,omitempty"` // what else a reader must know
}

// stand is one shop under one healer.
type stand struct {
	who     contender
	healer  healer
	shop    *shop.Client
	proxy   *proxy
	initial map[string]int // instances
	seconds []second
	say     func(format string, args ...any)
}

// play runs the whole story for one contender in a folder of its own.
func play(ctx context.Context, who contender, dir string, faults []planned, say func(string, ...any)) (result, error) {
	res := result{contender: who, GivenS: who.Given.Seconds()}
	st := &stand{who: who, healer: who.make(), say: say}
	defer st.close()
	if err := st.open(ctx, dir); err != nil {
		return res, err
	}
	began := time.Now()
	if !pause(ctx, warmUp) {
		return res, ctx.Err()
	}
	for i, p := range faults {
		note, err := st.settle(ctx)
		if err != nil {
			return res, err
		}
		o, err := st.suffer(ctx, p)
		if err != nil {
			return res, fmt.Errorf("%s of %s: %w", p.Kind, p.Service, err)
		}
		o.Note = note
		res.Faults = append(res.Faults, o)
		st.tell(i+1, len(faults), o)
	}
	between := st.proxy.done()
	for _, o := range res.Faults {
		between -= o.done()
	}
	res.Between = &between
	res.Cost.Minutes = time.Since(began).Minutes()
	for _, p := range st.healer.processes() {
		cpu, err := p.cpu()
		if err != nil {
			return res, err
		}
		peak, err := p.peak()
		if err != nil {
			return res, err
		}
		res.Cost.CPUSeconds += cpu
		res.Cost.PeakMiB += peak
	}
	return res, nil
}

func (st *stand) open(ctx context.Context, dir string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	site := site{dir: filepath.Join(dir, "healer"), services: map[string]string{}, hook: loopback(st.who.port + 9)}
	if err := os.MkdirAll(site.dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	st.shop, err = shop.Start(ctx, shop.Options{Command: []string{exe, "shop"}, Dir: filepath.Join(dir, "shop"), Port: st.who.port})
	if err != nil {
		return err
	}
	for name, address := range st.shop.Services {
		u, err := url.Parse(address)
		if err != nil {
			return fmt.Errorf("parse the address of %s: %w", name, err)
		}
		site.services[name] = u.Host
	}
	if st.initial, err = st.instances(ctx); err != nil {
		return err
	}
	control := loopback(st.who.port + 8)
	if st.proxy, err = openProxy(st.shop.URL, control, st.shop.Faults); err != nil {
		return err
	}
	site.control = "http://" + control
	return st.healer.start(ctx, site)
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func (st *stand) close() {
	st.healer.stop()
	if st.proxy != nil {
		st.proxy.close()
	}
	if st.shop != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		if err := st.shop.Shutdown(ctx); err != nil {
			st.say("the shop did not end: %v", err)
		}
	}
}

func (st *stand) instances(ctx context.Context) (map[string]int, error) {
	all, err := st.shop.Statuses(ctx)
	out := map[string]int{}
	for _, s := range all {
		out[s.Name] = s.Instances
	}
	return out, err
}

// look takes the customers' seconds that are new.
func (st *stand) look(ctx context.Context) error {
	load, err := st.shop.Load(ctx)
	if err != nil {
		return err
	}
	var last time.Time
	if n := len(st.seconds); n > 0 {
		last = st.seconds[n-1].At
	}
	for _, r := range load.Seconds {
		if r.At.After(last) {
			st.seconds = append(st.seconds, judgeSecond(r))
		}
	}
	return nil
}

// settle waits until the healer is calm and customers are content. The note
// says so if they never were: the fault comes anyway.
func (st *stand) settle(ctx context.Context) (note string, err error) {
	end := time.Now().Add(settleWait)
	for time.Now().Before(end) {
		if err := st.look(ctx); err != nil {
			return "", err
		}
		calm, err := st.healer.calm(ctx)
		if err != nil {
			return "", err
		}
		if calm && content(st.seconds, contentFor, time.Now()) {
			return "", nil
		}
		if !pause(ctx, lookEvery) {
			return "", ctx.Err()
		}
	}
	return fmt.Sprintf("the shop or the healer was not calm within %s before it", settleWait), nil
}

// suffer injects one fault, waits for what becomes of it, and leaves the shop
// as it was.
func (st *stand) suffer(ctx context.Context, p planned) (outcome, error) {
	f, err := st.shop.Inject(ctx, p.Service, p.Kind)
	if err != nil {
		return outcome{}, err
	}
	st.proxy.begin(f)
	o := outcome{planned: p, Injected: f.Since}
	deadline := f.Since.Add(st.who.Given)
	until := deadline
	for time.Now().Before(until) {
		if !pause(ctx, lookEvery) {
			return o, ctx.Err()
		}
		if err := st.look(ctx); err != nil {
			return o, err
		}
		over, _ := st.proxy.state()
		if o.Recovered || over.IsZero() {
			continue
		}
		if at, ok := recovery(st.since(f.Since), over); ok && at.Before(deadline) {
			o.Recovered, o.RecoveredS = true, max(at.Sub(f.Since).Seconds(), 0)
			until = at.Add(afterwards)
		}
	}
	if !o.Recovered {
		o.RecoveredS = st.who.Given.Seconds()
	}
	_, o.Actions = st.proxy.state()
	seconds := st.since(f.Since)
	o.BreachS = breaches(seconds, f.Since, until)
	for _, s := range seconds {
		if s.Breach != "" && len(o.Breaches) < breachLog {
			o.Breaches = append(o.Breaches, fmt.Sprintf("%.0f s: %s", s.At.Sub(f.Since).Seconds(), s.Breach))
		}
	}
	o.count()
	return o, st.mend(ctx, f)
}

// since gives the seconds that ended after t.
func (st *stand) since(t time.Time) []second {
	for i, s := range st.seconds {
		if s.At.After(t) {
			return st.seconds[i:]
		}
	}
	return nil
}

// mend undoes by hand what is left of a fault and of its remedy.
func (st *stand) mend(ctx context.Context, f shop.Fault) error {
	_, err := st.shop.Heal(ctx, f.ID)
	now, listErr := st.instances(ctx)
	err = errors.Join(err, listErr)
	for name, n := range st.initial {
		if now[name] != n && listErr == nil {
			err = errors.Join(err, st.shop.Control(ctx, name, "scale", map[string]int{"instances": n}, nil))
		}
	}
	return err
}

func (st *stand) tell(i, n int, o outcome) {
	end := fmt.Sprintf("recovered after %.1f s", o.RecoveredS)
	if !o.Recovered {
		end = fmt.Sprintf("not recovered in %.0f s", o.RecoveredS)
	}
	st.say("%s: %d of %d, %s of %s: %s, %d s of breach, %d actions, %d wrong",
		st.who.Title, i, n, o.Kind, o.Service, end, o.BreachS, len(o.Actions), o.Wrong)
}
