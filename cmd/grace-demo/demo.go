package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/examples/shop"
	"grace/internal/cli"
)

type demoOptions struct {
	program  string // grace, when it is named
	listen   string
	dataDir  string
	shopPort int
	once     bool
	quiet    float64
	only     []string
}

func newRoot(a *app) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "grace-demo",
		Short: "Watch GRACE heal a small shop: real processes, real faults, about 4 minutes",
		Long: `Start a small shop of six real services with customers, start GRACE next to it,
and break the shop seven times:

  a service crashes               GRACE restarts it
  a feature flag breaks checkout  GRACE turns it off
  a circuit breaker sticks open   GRACE asks, the story's operator approves
  a dependency gets slow          GRACE heals the cause, not the victims
  memory leaks slowly             GRACE foresees it and restarts in time
  more and more customers come    GRACE foresees it and adds a replica in time
  a remedy does not help          GRACE undoes it and calls a person

Then everything keeps running until Ctrl-C: open the console, break something
yourself, kill GRACE (it is started again; the shop outlives it).

GRACE is the program grace beside this one, or that of PATH. Simulated stories
in virtual time are another command: grace-demo sim.

With --once the demo ends after the story; with --json stdout holds only the
report and the account goes to stderr. The exit code is 0 only if every fault
ended as told. With --quiet-minutes nothing is broken, and it is 0 only if
GRACE did nothing.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.UsageError(fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath()), "see: grace-demo --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), o) },
	}
	common := cmd.PersistentFlags()
	common.BoolVar(&a.JSON, "json", false, "print the result as JSON")
	common.BoolVar(&a.utc, "utc", false, "print times in UTC instead of local time")
	f := cmd.Flags()
	f.StringVar(&o.program, "grace", "", "start this `program` as GRACE (default: grace beside this program, or of PATH)")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8000", "where GRACE and its console listen")
	f.IntVar(&o.shopPort, "shop-port", shop.DefaultPort, "the shop's first port; it uses seven in a row")
	f.StringVar(&o.dataDir, "data-dir", "", "keep data and logs in this folder (default: a cache folder, cleared at the end)")
	f.BoolVar(&o.once, "once", false, "end after the story")
	f.Float64Var(&o.quiet, "quiet-minutes", 0, "break nothing for so long, and report what GRACE did (it should be nothing)")
	f.StringSliceVar(&o.only, "only", nil, "play only these chapters: crash, bad_flag, breaker, slow_dependency, slow_leak, rising_load, stuck_latency")
	cmd.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	cmd.AddCommand(newSim(a), newShop())
	return cmd
}

func (a *app) demo(ctx context.Context, o demoOptions) error {
	told, err := chosen(chapters(), o.only)
	if err != nil {
		return err
	}
	program, err := findGrace(o.program)
	if err != nil {
		return err
	}
	tell := &teller{w: a.Out, colour: a.Colour, utc: a.utc, now: a.now}
	if a.JSON {
		tell.w, tell.colour = a.Err, false
	}
	s := &stage{opts: o, tell: tell, program: program, base: o.dataDir}
	if s.base == "" {
		if s.base, err = demoFolder(o.shopPort); err != nil {
			return err
		}
	}
	ok, err := a.perform(ctx, s, told)
	interrupted := ctx.Err() != nil && err != nil
	if closing := s.close(err != nil && !interrupted || err == nil && !ok); err == nil {
		err = closing
	}
	switch {
	case interrupted:
		return &cli.Failure{Code: cli.ExitFailed, Message: "interrupted before the end of the story", Cause: err}
	case err != nil:
		return err
	case !ok:
		return &cli.Failure{Code: cli.ExitFailed, Message: "the demo did not go as told", Hint: "the account above and GRACE's log say what was seen"}
	}
	return nil
}

// perform plays the story, or the quiet, and reports. ok tells whether it went
// as told.
func (a *app) perform(ctx context.Context, s *stage, told []chapter) (ok bool, err error) {
	if err := s.open(ctx); err != nil {
		return false, err
	}
	st := s.story(a)
	s.tell.say(voiceStory, "waiting until GRACE has seen every service healthy")
	st.settle(ctx)
	if err := s.autonomous(ctx); err != nil {
		return false, err
	}
	from := a.now()
	var faults []faultReport
	if s.opts.quiet > 0 {
		st.rest(ctx, time.Duration(s.opts.quiet*float64(time.Minute)))
	} else {
		faults = st.play(ctx, told)
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	report, err := newReport(ctx, s.person, from, faults)
	if err != nil {
		return false, err
	}
	report.QuietMinutes = s.opts.quiet
	report.OK = report.AuditOK && report.Replay.Differ == 0 && (s.opts.quiet == 0 && len(faults) == len(told) || s.opts.quiet > 0 && report.Actions == 0)
	for _, f := range faults {
		report.OK = report.OK && f.OK
	}
	if err := a.showReport(ctx, s, report); err != nil {
		return false, err
	}
	if s.opts.once {
		return report.OK, nil
	}
	s.tell.plain("\nEverything keeps running until Ctrl-C. Break something yourself, for example:\n" +
		fmt.Sprintf("  curl -d '{\"service\":\"catalog\",\"kind\":\"crash\"}' %s/faults\n  kill -9 %d   # GRACE; it is started again", s.shop.URL, s.grace.pid()))
	return report.OK, s.linger(ctx, st)
}

func (a *app) showReport(ctx context.Context, s *stage, r demoReport) error {
	kpis, err := s.person.KPIs(ctx)
	if err != nil {
		return err
	}
	s.tell.plain("\n" + r.text(kpis.Value, s.tell.colour))
	if a.JSON {
		return a.ShowJSON(r)
	}
	return nil
}

// linger goes on telling until the demo is interrupted or GRACE cannot go on.
func (s *stage) linger(ctx context.Context, st *story) error {
	for pause(ctx, lookEvery) {
		select {
		case <-s.grace.ended:
			return s.grace.err
		default:
		}
		_, _ = st.watch.look(ctx) // GRACE may be restarting
	}
	s.tell.say(voiceStory, "ending GRACE and the shop")
	return nil
}

func (s *stage) story(a *app) *story {
	seen := remote{s.person}
	mine := map[grace.ServiceID]bool{}
	for name := range s.shop.Services {
		mine[grace.ServiceID(name)] = true
	}
	return &story{
		faults: s.shop, view: &wellness{shop: s.shop, now: a.now}, grace: seen, operator: seen,
		watch: newWatcher(seen, s.tell, a.now()), tell: s.tell, now: a.now, mine: mine,
	}
}

// autonomous makes sure that GRACE may act: the environment may say otherwise.
func (s *stage) autonomous(ctx context.Context) error {
	m, err := s.admin.Mode(ctx)
	if err != nil || m.Value.InForce == grace.ModeAutonomous {
		return err
	}
	_, err = s.admin.SetMode(ctx, grace.ModeAutonomous, "the demo shows GRACE acting", nil)
	return err
}

// rest breaks nothing for a while, and tells what GRACE does anyway.
func (s *story) rest(ctx context.Context, d time.Duration) {
	s.tell.heading("Nothing is broken for %s; GRACE should do nothing", cli.Short(d))
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	said := s.now()
	for pause(ctx, lookEvery) {
		_, _ = s.watch.look(ctx) // a lost look is made up by the next
		if s.now().Sub(said) >= time.Minute {
			said = s.now()
			s.tell.say(voiceShop, "still quiet")
		}
	}
}

// chosen gives the chapters of these names, in the story's order.
func chosen(all []chapter, names []string) ([]chapter, error) {
	if len(names) == 0 {
		return all, nil
	}
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	var out []chapter
	for _, c := range all {
		if want[c.name] {
			out = append(out, c)
			delete(want, c.name)
		}
	}
	for n := range want {
		return nil, cli.UsageError(fmt.Sprintf("--only %q is not a chapter", n), "see: grace-demo --help")
	}
	return out, nil
}
