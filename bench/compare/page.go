package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// page is comparison.md.
func (r report) page() string {
	var b strings.Builder
	b.WriteString("# GRACE next to Prometheus with Alertmanager, and monit\n\n")
	fmt.Fprintf(&b, "Written by `make compare` on %s; raw results in [comparison.json](comparison.json). Do not edit by hand.\n\n", r.At.Format(time.DateOnly))
	b.WriteString(markdown(r.overview()))
	b.WriteString("\nTimes are from injection. `>` is a fault that was not recovered in the time given: the value counts as that time, and the fault is then mended by hand. With ten faults the p95 is the slowest one.\n\n")
	for _, h := range r.Healers {
		if h.Note != "" {
			b.WriteString(h.Title + ": " + h.Note + "\n\n")
		}
	}
	b.WriteString("## Each fault: seconds to recovered\n\n" + markdown(r.faults()))
	b.WriteString("\n## Each fault: seconds to the first action on the faulty service, helpful or not\n\n" + markdown(r.touches()))
	b.WriteString("\n## Better and worse\n\n")
	for _, f := range r.findings() {
		b.WriteString("- " + f + "\n")
	}
	b.WriteString(fairness)
	b.WriteString("\n## How it was measured\n\n" + method)
	b.WriteString("\n## Settings\n\n")
	fmt.Fprintf(&b, "%s. %d healers at the same time, each on a shop of its own; %.0f minutes.\n\n", r.Machine, r.Parallel, r.Minutes)
	for _, name := range []string{"GRACE", "prometheus", "prometheus-alertmanager", "monit"} {
		if v, ok := r.Versions[name]; ok {
			fmt.Fprintf(&b, "- %s %s\n", name, v)
		}
	}
	b.WriteString("\n")
	for _, h := range r.Healers {
		fmt.Fprintf(&b, "- **%s**: %s. Each fault was given %.0f s. Ran %.1f minutes, %.1f CPU seconds.", h.Title, h.About, h.GivenS, h.Cost.Minutes, h.Cost.CPUSeconds)
		if h.Between != nil {
			fmt.Fprintf(&b, " %d more actions between the faults.", *h.Between)
		}
		b.WriteString("\n")
	}
	for _, s := range []struct {
		title string
		speed speed
	}{{"usual", usualSpeed()}, {"fast", fastSpeed()}} {
		data := struct {
			speed
			Alertmanager, Hook string
			Services           []named
		}{s.speed, s.speed.alertmanager, "RECEIVER", []named{{"cart", "CART"}}}
		for _, f := range []struct{ name, text string }{{"Prometheus", prometheusConfig}, {"rules", alertRules}, {"Alertmanager", alertmanagerConfig}} {
			fmt.Fprintf(&b, "\n### %s, %s\n\n```yaml\n%s```\n", f.name, s.title, render(f.text, data))
		}
	}
	sample := site{dir: "DIR", control: "http://CONTROL", services: map[string]string{"cart": "127.0.0.1:CART", "checkout": "127.0.0.1:CHECKOUT"}}
	fmt.Fprintf(&b, "\n### monit\n\n```\n%s```\n", monitText(sample))
	return b.String()
}

const fairness = `
What to keep in mind:

- The others have one remedy, a restart, as is usual for them. It cures a crash and a leak; lost capacity, a bad flag and a stuck breaker stay. One who writes a receiver with a remedy for each alert gets these healed too, after about the time of the first action on the faulty service; against fast settings GRACE's advantage is then small, and gone where it first asks a person. The column *crash, leak* compares only faults for which all have the remedy.
- The services that lean on a sick one alert as well, and are restarted. Inhibition rules, written by hand for every dependency, would avoid some of these wrong actions. monit restarts again as long as its check fails; a limit of restarts, after which it looks no more, is left to the one who configures it.
- Faults come minutes apart here. With Alertmanager's default group_interval of 5 m, an alert is held back when the same alert about the same service was sent shortly before, as that of a victim may have been; faults hours apart would not meet this. It decides no recovery here: crash and leak were not held back.
- GRACE was given more knowledge: which services depend on which, the flags, playbooks. That is its configuration, which somebody has to write.
- GRACE, its example configuration and the shop are by the same authors; the shop's faults are those that GRACE has playbooks for. Its thresholds (400 ms, 32 MiB, an open breaker) are the same for Prometheus.
- Prometheus does much else: it keeps and graphs the series of a whole fleet. Its usual intervals are made for people who get woken, not for machines that act, and need fewer looks at the services. monit's default cycle in Debian is 120 s; here it is 5 s.
- It is one run with two faults of each kind on one small machine: it tells seconds from minutes, not 5 s from 6 s.
`

const method = `- Every healer has its own shop (six services, real processes, customers) and the same faults in the same order. It acts through a proxy in front of the platform's control, which records every action.
- A second is a **breach** when the customers of any service got more than 5 % errors, a p95 over 400 ms, or no answer.
- **Recovered** is the beginning of the first five seconds in a row without a breach, not before the platform says that the fault is cured or relieved.
- Seconds of **SLO breach** count from injection until 20 s after recovery, or until the time given is over: who is given 90 s for a fault that it cannot heal collects 90, not 180.
- A **wrong action** is one that the platform carried out and by which the fault that was on was neither cured nor relieved: on another service, without effect on it, or after it was over. The platform is asked after each action; the rule is the same for all. An undo counts as an action. Actions between the end of that time and the next fault are not in the table.
- Before each fault, customers are content for 10 s and the healer is calm (no alert pending or firing, no run open), or 90 s have passed.
- CPU is of the healer's processes and their children from start to end; memory is the sum of the peaks of its processes. The receiver of webhooks is part of the harness and not counted.
`

// versions asks the packages and git; what cannot be told is left out.
func versions(ctx context.Context, grace string) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"prometheus", "prometheus-alertmanager", "monit"} {
		if v := output(ctx, "dpkg-query", "-W", "-f", "${Version}", name); v != "" {
			out[name] = v
		}
	}
	out["GRACE"] = strings.TrimPrefix(output(ctx, grace, "version"), "grace ")
	if commit := output(ctx, "git", "rev-parse", "--short=12", "HEAD"); commit != "" {
		out["GRACE"] += ", commit " + commit
	}
	return out
}

func output(ctx context.Context, command ...string) string {
	data, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// machine words what it ran on.
func machine() string {
	system := "an unknown system"
	if data, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				system = strings.Trim(strings.TrimSpace(name), `"`)
			}
		}
	}
	return fmt.Sprintf("%s, %d processors", system, runtime.NumCPU())
}
