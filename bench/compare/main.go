package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"grace/examples/shop"
)

func main() {
	// The processes of the shop are this program again.
	if len(os.Args) > 1 && os.Args[1] == "shop" {
		os.Exit(shop.Main(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	only     string
	faults   int
	parallel int
	grace    string
	out      string
	keep     string
	page     bool
	chosen   map[string]*bool // contender by name; none chosen is all
}

func parse(args []string, usage io.Writer) (options, error) {
	o := options{chosen: map[string]*bool{}}
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.only, "only", "", "play only these `kinds` of faults, with commas between")
	f.IntVar(&o.faults, "faults", len(story()), "play at most so many faults")
	f.IntVar(&o.parallel, "parallel", 3, "healers at work at the same time, each on a shop of its own")
	f.StringVar(&o.grace, "grace-program", filepath.Join("bin", "grace"), "GRACE's program")
	f.StringVar(&o.out, "out", "", "write comparison.md and comparison.json into this `folder`")
	f.StringVar(&o.keep, "keep", "", "keep logs and data in this `folder`")
	f.BoolVar(&o.page, "page", false, "run nothing: write comparison.md anew from the comparison.json in -out")
	for _, c := range contenders("") {
		o.chosen[c.Name] = f.Bool(c.Name, false, "only this healer (and others that are named): "+c.Title)
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.parallel < 1 || o.faults < 1 || o.page && o.out == "" {
		return o, errors.New("wrong usage; see -help")
	}
	return o, nil
}

// contenders that take part.
func (o options) contenders() []contender {
	all := contenders(o.grace)
	var named []contender
	for _, c := range all {
		if *o.chosen[c.Name] {
			named = append(named, c)
		}
	}
	if len(named) == 0 {
		return all
	}
	return named
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	if o.page {
		rep, err := load(o.out)
		if err != nil {
			return err
		}
		return rep.write(o.out)
	}
	faults, err := choose(story(), o.only, o.faults)
	if err != nil {
		return err
	}
	taking := o.contenders()
	if err := present(taking, o.grace); err != nil {
		return err
	}
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "compare-"); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("find the folder: %w", err)
	}
	rep := report{At: time.Now().UTC().Truncate(time.Second), Parallel: o.parallel, Machine: machine(), Versions: versions(ctx, o.grace), Story: faults}
	if rep.Healers, err = playAll(ctx, taking, dir, faults, o.parallel, progress); err != nil {
		return err
	}
	rep.Minutes = time.Since(rep.At).Minutes()
	fmt.Fprintln(out, rep.tables())
	if o.out == "" {
		return nil
	}
	return rep.write(o.out)
}

// present finds a missing program before anything is started.
func present(taking []contender, grace string) error {
	for _, c := range taking {
		need := map[string][]string{
			"usual": {"prometheus", "prometheus-alertmanager"}, "fast": {"prometheus", "prometheus-alertmanager"},
			"monit": {"monit", "curl"}, "grace": {grace},
		}[c.Name]
		for _, program := range need {
			if _, err := exec.LookPath(program); err != nil && program != grace {
				return fmt.Errorf("%s needs %s: install it with apt-get install %s", c.Title, program, program)
			} else if err != nil {
				return fmt.Errorf("%w: build it with make build", err)
			}
		}
	}
	return nil
}

// playAll runs the healers, parallel at a time, in their order. The first
// error ends all.
func playAll(ctx context.Context, taking []contender, dir string, faults []planned, parallel int, progress io.Writer) ([]result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var telling sync.Mutex
	say := func(format string, args ...any) {
		telling.Lock()
		defer telling.Unlock()
		fmt.Fprintf(progress, "%s %s\n", time.Now().UTC().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}
	results := make([]result, len(taking))
	free := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, who := range taking {
		free <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-free }()
			say("%s begins", who.Title)
			var err error
			results[i], err = play(ctx, who, filepath.Join(dir, who.Name), faults, say)
			if err != nil {
				cancel(fmt.Errorf("%s: %w", who.Title, err))
			}
		})
	}
	wg.Wait()
	return results, context.Cause(ctx)
}
