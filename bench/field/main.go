package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"grace/internal/cli"
	"grace/internal/stage/learn"
)

func main() {
	if len(os.Args) > 1 {
		if part, known := parts()[os.Args[1]]; known {
			if err := part(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	short := flag.Bool("short", false, "half of the faults, about 3 minutes")
	program := flag.String("grace", "bin/grace", "the binary that is tried")
	stepped := flag.String("clock", "bin/grace-stepclock", "the same with a clock that can be set")
	only := flag.String("only", "", "only chapters with a fault whose name holds this")
	keep := flag.Bool("keep", false, "keep the folder with configurations and logs")
	lasts := flag.Duration("for", 0, "tell the campaign again, on the same stack, until it has taken this long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chapters := chosen(campaign(*stepped), *short, *only)
	if !slices.ContainsFunc(chapters, func(c chapter) bool { return len(c.faults) > 0 }) {
		fmt.Fprintf(os.Stderr, "field: no fault has %q in its name\n", *only)
		os.Exit(2) //nolint:gocritic // nothing was begun
	}
	if err := field(ctx, *program, chapters, *lasts, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "field:", err)
		os.Exit(1) //nolint:gocritic // the context is of no use any more
	}
}

// parts are what this program is as somebody's child: an app, a look, an action.
func parts() map[string]func([]string) error {
	return map[string]func([]string) error{
		"app": func(a []string) error { return serveApp(a[0], a[1], a[2]) },
		"look": func(a []string) error {
			switch a[0] {
			case "redis":
				return lookPing(a[1])
			case "db":
				return lookOrders(a[1])
			default:
				return lookSpool(a[1])
			}
		},
		"ctl": func(a []string) error {
			client := &http.Client{Timeout: 20 * time.Second}
			resp, err := client.Post(a[0]+"/"+a[1]+"/"+a[2], "", nil)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return errors.New(resp.Status)
			}
			return nil
		},
	}
}

// chosen leaves out what is not in the short form, or not asked for.
func chosen(chapters []chapter, short bool, only string) []chapter {
	var out []chapter
	for _, c := range chapters {
		c.faults = slices.DeleteFunc(c.faults, func(f fault) bool { return short && !f.short || !strings.Contains(f.name, only) })
		if len(c.faults) > 0 || c.before != nil {
			out = append(out, c)
		}
	}
	return out
}

func field(ctx context.Context, program string, chapters []chapter, lasts time.Duration, keep bool) error {
	began := time.Now()
	s, err := newStack(program)
	defer func() { s.close(keep) }()
	if err != nil {
		return err
	}
	if keep {
		fmt.Println("everything is in", s.dir)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j := newJudge(s)
	s.control.wellFor = j.wellFor
	done := make(chan struct{})
	go func() { j.run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	if err := j.ready(ctx); err != nil {
		return err
	}
	var rows []row
	for i := 0; i < len(chapters) || time.Since(began) < lasts; i++ {
		c := chapters[i%len(chapters)]
		if c.before != nil {
			if err := c.before(ctx, j); err != nil {
				return err
			}
		}
		for _, r := range j.tell(ctx, c, began) {
			fmt.Println(r.line())
			rows = append(rows, r)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return j.verdict(rows, time.Since(began))
}

// ready waits until everything is well and GRACE has seen it.
func (j *judge) ready(ctx context.Context) error {
	end := time.Now().Add(time.Minute)
	for time.Now().Before(end) && ctx.Err() == nil {
		well := true
		for _, name := range services() {
			well = well && j.isWell(name)
		}
		var status map[string]any
		if well && j.ask(http.MethodGet, "/api/runs", nil, &status) == nil {
			wait(ctx, 4*time.Second)
			fmt.Printf("%-54s %6s %8s %8s %8s %8s\n", "FAULT", "AT", "ACTED", "ASKED", "TOLD", "OVER")
			return nil
		}
		wait(ctx, 300*time.Millisecond)
	}
	var sick []string
	for _, name := range services() {
		if err := j.look(name); err != nil {
			sick = append(sick, fmt.Sprintf("%s: %v", name, err))
		}
	}
	log, _ := os.ReadFile(j.dir + "/grace.log") // what there is of it
	return fmt.Errorf("the stack is not well after a minute: %s; GRACE says: %s", strings.Join(sick, "; "), log[max(0, len(log)-1500):])
}

func (r row) line() string {
	show := func(d time.Duration) string {
		if d == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	line := fmt.Sprintf("%-54s %6s %8s %8s %8s %8s", r.fault.name+" of "+r.fault.service, r.at, show(r.acted), show(r.asked), show(r.told), show(r.recover))
	if r.wrong != "" {
		line += "  NOT AS TOLD: " + r.wrong
	}
	return line
}

// verdict prints what must be 0, last.
func (j *judge) verdict(rows []row, took time.Duration) error {
	j.control.mu.Lock()
	var needless []string
	for _, c := range j.control.calls {
		if c.hushed {
			needless = append(needless, fmt.Sprintf("%s of %s at %s, and its alert was silenced", c.verb, c.service, c.at.Format(time.TimeOnly)))
		} else if c.well > noticed {
			needless = append(needless, fmt.Sprintf("%s of %s at %s, and it had been well for %s", c.verb, c.service, c.at.Format(time.TimeOnly), c.well.Round(time.Second/10)))
		}
	}
	actions := len(j.control.calls)
	j.control.mu.Unlock()
	j.mu.Lock()
	silences, untrue := j.silences, j.untrue
	j.mu.Unlock()
	wrong := 0
	for _, r := range rows {
		if r.wrong != "" {
			wrong++
		}
	}
	for _, text := range append(append(append([]string{}, needless...), silences...), untrue...) {
		fmt.Println("  ", text)
	}
	var kpis learn.KPIs
	if err := j.ask(http.MethodGet, "/api/self_heal/kpis", nil, &kpis); err != nil {
		return fmt.Errorf("read the key figures: %w", err)
	}
	criteria := cli.Criteria(kpis.Criteria)
	criteria.Write(os.Stdout, false)
	fmt.Printf("%d faults in %.0f s, %d actions\n", len(rows), took.Seconds(), actions)
	fmt.Printf("successes without recovery: %d\nactions on what was well or silenced: %d\nsilences: %d\n", len(untrue), len(needless), len(silences))
	if bad := len(needless) + len(silences) + len(untrue) + wrong; bad > 0 {
		return fmt.Errorf("%d broken promises, %d faults not as told", bad-wrong, wrong)
	}
	return nil
}
