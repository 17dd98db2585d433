package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/series"
	"grace/internal/stage/propose"
	"grace/internal/stage/verify"
)

// checkPlaybooks looks at the playbooks that files write.
func (c *checker) checkPlaybooks() {
	for _, w := range c.written {
		if w.ID == "" {
			continue // reported as missing
		}
		merged := c.playbooks[w.ID]
		if _, seed := c.seed(w.ID); !seed {
			c.checkTerms(w)
		}
		eachName(w.at.key("services"), w.Services, c.service)
		c.checkParameters(w.at.key("parameters"), w.Parameters)
		c.checkRemedy(w.at, w.Remedy, merged)
		if w.at.key("arguments").given() {
			c.checkArguments(w.at.key("arguments"), merged)
		}
		if len(merged.Steps) > 0 {
			c.checkWhole(w.at, merged)
		}
		for _, id := range w.Services {
			c.checkMeasured(w.at, merged, id)
		}
		if len(w.Services) == 0 {
			c.checkMeasured(w.at, merged, "")
		}
	}
}

// checkTerms holds a new playbook to what the trust core must know of it.
func (c *checker) checkTerms(w writtenPlaybook) {
	for _, need := range []struct{ key, got, hint string }{
		{"risk", string(w.Risk), "low, medium or high: how much it can hurt"},
		{"impact", string(w.Impact), "low, medium, high or critical: what it does to users while it runs"},
	} {
		if need.got == "" && !w.at.key(need.key).failed() {
			w.at.key(need.key).add(need.hint, "a playbook that is not built in must say it")
		}
	}
	if len(w.Triggers) == 0 && !w.at.key("triggers").failed() {
		w.at.key("triggers").add("for example triggers: [service_down]", "without a trigger it is never proposed")
	}
}

// checkRemedy looks at the steps and checks that are written here; p is the
// playbook they belong to, as it will run.
func (c *checker) checkRemedy(at spot, r Remedy, p grace.Playbook) {
	names := map[string]string{}
	for i, s := range r.Steps {
		step := at.key("steps").item(i)
		if s.Name == "" && !step.key("name").failed() {
			step.key("name").add("it is the step's name in the log and in idempotency keys, for example name: restart", "required key is missing")
		}
		unique(step.key("name"), "step", s.Name, names)
		c.checkStep(step, s, p)
	}
	for i, check := range r.Verify {
		c.checkCheck(at.key("verify").item(i), check, variables(p))
	}
}

// checkStep holds a step to the rule that makes a failed run undoable.
func (c *checker) checkStep(at spot, s grace.Step, p grace.Playbook) {
	vars := variables(p)
	c.checkCall(at, s.Action, s.With, vars)
	if s.Retries < 0 {
		at.key("retries").add("", "is %d, want at least 0", s.Retries)
	}
	undoWord, both := at.key("undo"), ""
	switch {
	case s.ReadOnly && s.Undo != nil:
		both = "read_only and undo"
	case s.ReadOnly && s.Irreversible:
		both = "read_only and irreversible"
	case s.Irreversible && s.Undo != nil:
		both = "irreversible and undo"
	case at.key("irreversible").failed(), at.key("read_only").failed(): // it says how, only not as it should
	case !s.ReadOnly && !s.Irreversible && s.Undo == nil && !undoWord.failed():
		undoWord.add("add undo: {action: ..., with: {...}}, or irreversible: true when nothing can take it back, or read_only: true when it changes nothing",
			"a step that changes something must say how it is undone")
	}
	if both != "" {
		at.add("keep one of the two", "%s exclude each other", both)
	}
	if s.Snapshot != nil {
		c.checkCall(at.key("snapshot"), s.Snapshot.Action, s.Snapshot.With, vars)
	}
	if s.Check != nil {
		c.checkCheck(at.key("check"), *s.Check, vars)
	}
	if s.Undo != nil {
		if s.Snapshot != nil {
			vars = append(vars, "snapshot.")
		}
		c.checkCall(undoWord, s.Undo.Action, s.Undo.With, vars)
		if s.Undo.Check != nil {
			c.checkCheck(undoWord.key("check"), *s.Undo.Check, vars)
		}
	}
}

// checkCall asks the action itself about its settings.
func (c *checker) checkCall(at spot, action string, with map[string]any, vars []string) {
	known := slices.Collect(maps.Keys(c.options.Actions))
	validate, ok := c.options.Actions[action]
	switch {
	case action == "":
		if !at.key("action").failed() {
			at.key("action").add(didYouMean("", known), "required key is missing")
		}
	case !ok:
		at.key("action").add(didYouMean(action, known), "unknown action %s", quote(action))
	default:
		settings := at.key("with")
		if line, isText := with["argv"].(string); isText {
			settings.key("argv").add("write a list: argv: ["+strings.Join(strings.Fields(shorten(line)), ", ")+"]", "want a list of texts, got the text %s: no shell reads it", quote(line))
		}
		if action == "command" {
			dir, _ := with["dir"].(string)
			argv := textsOf(with["argv"])
			if len(argv) > 0 {
				settings.key("argv").item(0).program(argv[0], dir)
			}
			checkNoShell(settings.key("argv"), argv)
		}
		if action == "http" {
			if method, _ := with["method"].(string); method != "" {
				checkMethod(settings.key("method"), strings.ToUpper(method)) // as it is sent
			}
			checkSettingsTLS(settings.key("tls"), with["tls"])
		}
		c.checkReferences(settings, with, vars)
		settings.secretsInSettings("", with)
		if !settings.failed() {
			settings.addError(validate(with))
		}
	}
}

func (c *checker) checkCheck(at spot, check grace.Check, vars []string) {
	if at.failed() {
		return
	}
	for key, text := range map[string]string{"url": check.URL, "expr": check.Expr} {
		c.checkReferences(at.key(key), text, vars)
	}
	for i, arg := range check.Argv {
		c.checkReferences(at.key("argv").item(i), arg, vars)
	}
	c.checkSource(at.key("source"), check.Source)
	checkAsked(at.key("expr"), check)
	if check.Type == grace.CheckCommand && len(check.Argv) > 0 {
		at.key("argv").item(0).program(check.Argv[0], "")
		checkNoShell(at.key("argv"), check.Argv)
	}
	if check.Type == grace.CheckHTTPHealth && !at.failed() {
		checkTarget(at.key("url"), check.URL)
	}
	at.addError(verify.ValidateCheck(check))
}

// checkMeasured looks at the metrics by which a run on a service is verified:
// whether they come, and how long that takes.
func (c *checker) checkMeasured(remedy spot, p grace.Playbook, service grace.ServiceID) {
	for i, check := range p.Verify {
		here := remedy.key("verify").item(i)
		e, err := series.Compile(verify.Outline(check.Expr))
		if check.Expr == "" || here.failed() || !here.given() || err != nil {
			continue
		}
		if every := c.every(check.Source); every > 0 {
			checkInterval(here.key("expr"), p, check, check.Source, every)
		}
		if check.Source != "" {
			continue
		}
		for _, named := range e.Named() {
			at, of := here.key("expr"), named.Service
			if of == "" || of == "${service}" {
				of = service
			}
			if hint, unknown := c.unknown(of); unknown && len(references(string(of))) == 0 {
				at.warn(hint, "unknown service %s", quote(string(of)))
			}
			c.checkMetric(at, of, named.Metric)
			known, _ := c.metricsOf(of)
			for _, k := range known {
				if k.metric == named.Metric {
					checkInterval(at, p, check, k.metric, k.interval.D())
				}
			}
		}
	}
}

// checkInterval looks at how long it takes until a metric has come, or a source was asked,
// often enough.
func checkInterval(at spot, p grace.Playbook, check grace.Check, what string, every time.Duration) {
	n := check.MinSamples
	if n == 0 {
		n = heal.DefaultMinSamples
	}
	interval := shortDuration(grace.Duration(every))
	needs, has := time.Duration(n)*every, or(p.Settle, heal.DefaultSettle)+or(p.Soak, heal.DefaultSoak)
	switch watchdog := or(p.Watchdog, heal.DefaultWatchdog); {
	case needs <= has:
	case needs+every >= watchdog:
		at.add("read it more often, lower min_samples, or raise watchdog", "%s is read every %s: %d samples take %s, but the run is aborted after %s",
			what, interval, n, shortDuration(grace.Duration(needs)), shortDuration(grace.Duration(watchdog)))
	default:
		at.warn("read it more often, lower min_samples, or say so with soak: "+shortDuration(grace.Duration(needs)),
			"%s is read every %s: %d samples take %s, longer than settle and soak (%s), so that verification waits for them",
			what, interval, n, shortDuration(grace.Duration(needs)), shortDuration(grace.Duration(has)))
	}
}

// variables are the names that ${} may hold in a playbook's steps. One that
// ends in a dot stands for all that begin with it.
func variables(p grace.Playbook) []string {
	vars := []string{"service", "run"}
	for _, param := range p.Parameters {
		vars = append(vars, param.Name)
	}
	return vars
}

// checkReferences looks for ${name} that nothing would replace.
func (c *checker) checkReferences(at spot, v any, vars []string) {
	switch v := v.(type) {
	case string:
		for _, ref := range references(v) {
			c.checkReference(at, ref, vars)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			c.checkReferences(at.key(k), v[k], vars)
		}
	case []any:
		for i, x := range v {
			c.checkReferences(at.item(i), x, vars)
		}
	}
}

func (c *checker) checkReference(at spot, ref string, vars []string) {
	prefix, _, dotted := strings.Cut(ref, ".")
	if isSecretReference(ref) || slices.Contains(vars, ref) || dotted && slices.Contains(vars, prefix+".") {
		return
	}
	if prefix == "snapshot" {
		at.add("only an undo may use it, and only when its step has a snapshot", "${%s} has no value here", shorten(ref))
		return
	}
	at.add(didYouMean(ref, append([]string{"env:NAME", "file:PATH"}, vars...)), "${%s} is no parameter of the playbook", shorten(ref))
}

// checkParameters looks at the declarations.
func (c *checker) checkParameters(at spot, params []grace.Parameter) {
	names := map[string]string{}
	for i, p := range params {
		here := at.item(i)
		if p.Name == "" {
			here.key("name").add("", "required key is missing")
			continue
		}
		checkName(here.key("name"), p.Name)
		unique(here.key("name"), "parameter", p.Name, names)
		if p.Name == "service" || p.Name == "run" || strings.HasPrefix(p.Name, "snapshot") {
			here.key("name").add("choose another name", "${%s} already has a meaning in every step", p.Name)
		}
		if p.Min != nil && p.Max != nil && *p.Min > *p.Max {
			here.key("min").add("swap the two", "min %v is greater than max %v", *p.Min, *p.Max)
		}
		if p.Type == "" && !here.key("type").failed() {
			here.key("type").add("string, int or duration", "required key is missing")
		}
		if p.Default != nil && !here.failed() {
			p.Required = false
			if _, err := propose.ResolveParameters(grace.Playbook{Parameters: []grace.Parameter{p}}); err != nil {
				here.key("default").add("", "%v", err)
			}
		}
	}
}

// checkArguments asks propose about each parameter by itself, so that every
// bad value is found and shown where it stands.
func (c *checker) checkArguments(at spot, p grace.Playbook) {
	names := make([]string, len(p.Parameters))
	for i, param := range p.Parameters {
		names[i] = param.Name
		one := grace.Playbook{ID: p.ID, Parameters: []grace.Parameter{param}}
		if v, ok := p.Arguments[param.Name]; ok {
			one.Arguments = map[string]any{param.Name: v}
		}
		if _, err := propose.ResolveParameters(one); err != nil {
			at.key(param.Name).add("", "%v", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Arguments)) {
		if !slices.Contains(names, name) {
			at.key(name).add(didYouMean(name, names), "the playbook %s has no such parameter", p.ID)
		}
	}
}

// checkWhole looks at a playbook as it will run on a service.
func (c *checker) checkWhole(at spot, p grace.Playbook) {
	if len(p.Verify) == 0 && !at.key("verify").failed() {
		at.key("verify").add("for example verify: [{type: http_health, url: \"http://127.0.0.1:8080/healthz\"}]",
			"without a check a run cannot succeed")
	}
	c.checkWatchdog(at.key("watchdog"), p)
}

// checkWatchdog refuses a watchdog that would undo a remedy that helps: each
// step may take its timeout, and then the checks may show it as late as settle
// and soak allow, and what began the run clear as late as recover_within allows
// and stay clear for hold_down. That retries may take longer is only worth a look.
func (c *checker) checkWatchdog(at spot, p grace.Playbook) {
	if at.failed() {
		return
	}
	var once, retried time.Duration
	for _, s := range p.Steps {
		timeout := or(s.Timeout, heal.DefaultStepTimeout)
		once += timeout
		retried += time.Duration(1+max(0, min(s.Retries, 1000))) * timeout
	}
	settle, soak := or(p.Settle, heal.DefaultSettle), or(p.Soak, heal.DefaultSoak)
	holdDown, recoverWithin := c.file.HoldDown.D(), c.file.RecoverWithin.D()
	shown, shownBy := settle+max(soak, holdDown), "settle and soak"
	if holdDown > soak {
		shownBy = "settle and hold_down"
	}
	if recoverWithin+holdDown > shown {
		shown, shownBy = recoverWithin+holdDown, "recover_within and hold_down"
	}
	in := func(d time.Duration) string { return shortDuration(grace.Duration(d)) }
	watchdog := or(p.Watchdog, heal.DefaultWatchdog)
	switch {
	case once+shown > watchdog:
		at.add("give watchdog: "+in(once+shown)+" or more, or lower "+shownBy+" or the steps' timeouts",
			"a run that helps may take %s (its steps %s, %s %s), but it is undone after %s", in(once+shown), in(once), shownBy, in(shown), in(watchdog))
	case retried+settle+soak > watchdog:
		at.warn("raise watchdog, or lower timeouts, retries, settle or soak",
			"steps, settle and soak may take %s, but the run is aborted after %s", in(retried+settle+soak), in(watchdog))
	}
}

func or(d grace.Duration, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d.D()
}
