package explain

import (
	"cmp"
	"fmt"
	"strings"

	"grace"
)

func say(text string) func(grace.Reason) string { return func(grace.Reason) string { return text } }

func atMost(r grace.Reason) string { return "at most " + value(r.Required, r.Unit) }

func below(r grace.Reason) string { return "fewer than " + value(r.Required, r.Unit) }

// gates words each gate that there is.
var gates = map[string]wording{ //nolint:gochecknoglobals // a constant table
	// Of propose.
	"evidence": {evidence, say("fresh evidence that the condition is there"), evidenceHint},
	"declared": {
		nil, say("a service of the configuration"),
		say("describe it under services; GRACE shows what others send about it, and never acts on it"),
	},
	"person":     {person, say("nothing that a person is to look at first"), personHint},
	"redundancy": {redundancy, redundancyRequired, say("heal or bring back the other members first, or run the remedy yourself when they are")},
	"storm": {
		storm, stormRequired,
		say("look for a common cause (network, host, a deployment); propose.storm_services and propose.storm_share are the limits"),
	},
	"concurrency": {
		func(r grace.Reason) string { return count(number(r.Actual, ""), "run") + " acting" }, below,
		say("it is tried again when a run ends; propose.max_concurrent is the limit"),
	},
	"cone": {cone, say("no acting run on a service the target depends on or that depends on it"), say("it is tried again when that run ends")},
	"rate": {
		func(r grace.Reason) string { return count(number(r.Actual, ""), "proposal") + " in the last hour" }, below,
		func(r grace.Reason) string {
			return until(r, "the next is possible at %s; ") + "something that breaks this often needs a person; propose.rate_per_hour is the limit"
		},
	},
	"open": {open, say("no open run for the same condition"), say("decide on the open run (grace runs list), or wait until it ends")},
	"crash_loop": {
		crashLoop, notBefore,
		say("something that breaks this often needs a person; propose.backoff_base and propose.backoff_max are the limits"),
	},
	"playbook": {playbook, playbookRequired, playbookHint},
	"backoff": {backoff, notBefore, func(r grace.Reason) string {
		return until(r, "the next try is possible at %s; ") + "a success resets it; propose.backoff_base and propose.backoff_max are the limits"
	}},
	// Of govern.
	"mode":    {mode, nil, modeHint},
	"execute": {nil, nil, say("trust.execute or SELF_HEAL_EXECUTE lets GRACE act at all")},
	"playbook_auto": {truth, say("true"), func(r grace.Reason) string {
		return "auto in playbook " + id(r) + ", or in its binding for the service, lets it run without a person"
	}},
	"autoprove_low_risk": {nil, nil, say("trust.autoprove_low_risk or SELF_HEAL_AUTOPROVE_LOW_RISK lets anything run without a person")},
	"risk":               {nil, nil, say("trust.auto_risks lists the risks that need no person")},
	"impact":             {nil, nil, say("trust.auto_impacts lists the impacts that need no person")},
	"blast_radius":       {nil, atMost, say("trust.max_blast_radius limits how many services may depend on the target")},
	"confidence":         {nil, func(r grace.Reason) string { return "at least " + value(r.Required, r.Unit) }, confidenceHint},
	"change_window":      {window, windowRequired, say("change_windows lists when changes are welcome")},
	"critical_target": {
		nil, func(r grace.Reason) string { return listed(r.Required) },
		say("a critical service, or one whose criticality is not configured, is never acted on without a person"),
	},
	"predictive_shadow": {
		func(r grace.Reason) string { return id(r) + " proposal, shadow " + value(r.Actual, "") }, say("shadow off for what predictions propose"),
		say("trust.predictive_shadow or SELF_HEAL_PREDICTIVE_SHADOW keeps predictions from acting while they are being judged"),
	},
	"policy": {policy, policyRequired, policyHint},
	// Of the run and its question.
	"approval": {approval, say("approved"), approvalHint},
	"trigger": {func(r grace.Reason) string {
		if r.Actual == nil {
			return "cleared by itself"
		}
		return value(r.Actual, "")
	}, say("still there"), nil},
	"diagnosis": {say("no rule makes a diagnosis of it"), say("a diagnosis"), say("give the objective or alert a code that a playbook is triggered by")},
}

// until fills the time from which on it passes into a text, if there is one.
func until(r grace.Reason, text string) string {
	if r.Until == nil {
		return ""
	}
	return fmt.Sprintf(text, stamp(*r.Until))
}

func notBefore(r grace.Reason) string { return cmp.Or(until(r, "not before %s"), "no wait") }

func truth(r grace.Reason) string { return fmt.Sprint(r.Actual) }

// listed words a list with commas: low, medium or high.
func listed(v any) string {
	list, ok := v.([]string)
	if !ok || len(list) < 2 {
		return value(v, "")
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
}

func evidence(r grace.Reason) string {
	text := ""
	if r.Actual != nil {
		text = value(r.Actual, "")
	}
	kind, name, _ := strings.Cut(r.Source, "/")
	switch {
	case kind == "prediction" && r.Code == grace.ReasonUnconfirmed:
		return "not predicted anew since the start or the last change of the configuration"
	case kind == "prediction" && r.Code == grace.ReasonCleared:
		return "the trend of " + name + " has turned"
	case r.Source == "" && r.Code == grace.ReasonCleared:
		return cmp.Or(text, "no signal of it is there any more")
	case kind == "signal" && r.Code == grace.ReasonUnconfirmed:
		return name + ": not shown anew since the start, a change of its configuration, the end of a silence, or the last run, or not all of it seen"
	case kind == "signal" && r.Code == grace.ReasonSilenced:
		return name + " is silenced at its source: " + text
	}
	return cmp.Or(text, "nothing was seen yet")
}

func evidenceHint(r grace.Reason) string {
	if r.Code == grace.ReasonCleared && r.Source == "" {
		return "what is still wrong is decided anew"
	}
	switch r.Code {
	case grace.ReasonCleared:
		return "nothing to do: what has passed needs no remedy"
	case grace.ReasonUnstable:
		return "nothing is done to a service while it passes; if it goes on changing a person is told"
	case grace.ReasonNoData:
		return "find out why its data stopped: grace sensors"
	case grace.ReasonSilenced:
		return "grace silence list shows who silenced what; a silence of the alert's source ends there"
	default:
		return "the next sample decides; of an alert, that its sender sends it again"
	}
}

func person(r grace.Reason) string {
	kind, name, _ := strings.Cut(r.Source, "/")
	switch {
	case r.OK:
		return "nothing"
	case r.Code == grace.ReasonAborted:
		return fmt.Sprintf("a person aborted what was done about it (%s %s), and it lasts", kind, name)
	}
	return fmt.Sprintf("something may have been left half done (%s %s)", kind, name)
}

func personHint(r grace.Reason) string {
	if r.Until != nil {
		return until(r, "grace run PLAYBOOK SERVICE does it now; GRACE does it by itself from %s on")
	}
	resolve := "grace incidents resolve " + id(r) + " --reason WHY"
	if r.Code == grace.ReasonAborted {
		return "GRACE acts by itself again when it is over, or after " + resolve + "; grace run PLAYBOOK SERVICE does it now"
	}
	return "look at the service, then " + resolve
}

func redundancy(r grace.Reason) string {
	if r.Source == "" {
		return "no group would be left with too few"
	}
	text := fmt.Sprintf("%s of the group that %s needs are well and left alone", count(number(r.Actual, ""), "other member"), id(r))
	if r.OK {
		text += "; it is down itself"
	}
	return text
}

func redundancyRequired(r grace.Reason) string {
	switch {
	case r.Source == "":
		return "enough other members of its groups are well"
	case r.OK:
		return "enough that are well, or that it is down"
	}
	return "at least " + value(r.Required, r.Unit)
}

func storm(r grace.Reason) string {
	text := fmt.Sprintf("%.0f of %.0f services sick", number(r.Actual, "sick"), number(r.Actual, "services"))
	if n := number(r.Actual, "undeclared"); n > 0 {
		text += fmt.Sprintf(", and %.0f that nobody described", n)
	}
	return text
}

func stormRequired(r grace.Reason) string {
	return fmt.Sprintf("at most %.0f services and %.0f %% of at least %.0f",
		number(r.Required, "services"), 100*number(r.Required, "share"), number(r.Required, "fewest"))
}

func cone(r grace.Reason) string {
	if r.OK {
		return "free"
	}
	return fmt.Sprintf("run %s is on %s", id(r), value(r.Actual, ""))
}

func open(r grace.Reason) string {
	if r.OK {
		return "none"
	}
	return fmt.Sprintf("run %s is %s", id(r), value(r.Actual, ""))
}

func crashLoop(r grace.Reason) string {
	if r.Until == nil {
		return "not healed again and again"
	}
	return fmt.Sprintf("it came back after %.0f remedies that had helped", number(r.Actual, ""))
}

func backoff(r grace.Reason) string {
	switch n := number(r.Actual, ""); n {
	case 0:
		return "no failure since the last success"
	case 1:
		return id(r) + " failed once"
	default:
		return fmt.Sprintf("%s failed %.0f times in a row", id(r), n)
	}
}

func playbook(r grace.Reason) string {
	actual := value(r.Actual, "")
	switch r.Code {
	case grace.ReasonNoPlaybook:
		return fmt.Sprintf("none of %s is triggered by %s", count(number(r.Actual, ""), "playbook"), id(r))
	case grace.ReasonNoBinding:
		return id(r) + " has no steps for " + actual
	case grace.ReasonBadParameters:
		list, _ := r.Actual.([]string)
		return id(r) + ": " + strings.Join(list, "; ")
	case grace.ReasonDoNothing:
		return fmt.Sprintf("%s succeeds with %.2f (%s)", id(r), number(r.Actual, "score"), count(number(r.Actual, "outcomes"), "outcome"))
	case grace.ReasonDuplicate:
		return fmt.Sprintf("%s was proposed already and is %s", id(r), actual)
	default:
		return actual + " chosen"
	}
}

func playbookRequired(r grace.Reason) string {
	switch r.Code {
	case grace.ReasonNoPlaybook:
		return "a playbook with this trigger"
	case grace.ReasonNoBinding:
		return "a binding of the playbook to the service"
	case grace.ReasonBadParameters:
		return "arguments within the bounds of their parameters"
	case grace.ReasonDoNothing:
		return fmt.Sprintf("at least %.2f, what doing nothing achieves", number(r.Required, "score"))
	case grace.ReasonDuplicate:
		return notBefore(r)
	default:
		return "a playbook that is triggered, bound and not tried just now"
	}
}

func playbookHint(r grace.Reason) string {
	switch r.Code {
	case grace.ReasonNoPlaybook:
		return "add " + id(r) + " to the triggers of a playbook that helps"
	case grace.ReasonNoBinding:
		return fmt.Sprintf("say what %s means for %s under services.bindings", id(r), value(r.Actual, ""))
	case grace.ReasonBadParameters:
		return "mend the arguments in the playbook or in its binding"
	case grace.ReasonDoNothing:
		return "the playbook does not help here: mend it, or let its outcomes age; propose.do_nothing is the limit"
	default:
		return "it is tried again after that; propose.duplicate_window is the limit"
	}
}

func mode(r grace.Reason) string {
	if r.Source == "configuration" {
		return value(r.Actual, "") + ", held at observe_only by the configuration"
	}
	return value(r.Actual, "")
}

func modeHint(r grace.Reason) string {
	if r.Source == "configuration" {
		return "trust.observe_only (or SELF_HEAL_OBSERVE_ONLY) is on; turn it off first"
	}
	return "grace mode set autonomous --reason TEXT changes the mode"
}

func confidenceHint(r grace.Reason) string {
	key := "trust.min_confidence"
	if id(r) == string(grace.TriggerProactive) {
		key = "trust.min_confidence_proactive"
	}
	return key + " is the limit; more agreeing evidence raises the confidence"
}

func window(r grace.Reason) string {
	if r.Actual == "no windows" {
		return "no windows are configured"
	}
	return value(r.Actual, "")
}

func windowRequired(r grace.Reason) string {
	if r.OK {
		return "inside a change window"
	}
	return Window(r)
}

func policy(r grace.Reason) string {
	if r.Code == grace.ReasonNoPolicy {
		return fmt.Sprintf("none of %.0f policies matches", number(r.Actual, ""))
	}
	return id(r) + " says " + value(r.Actual, "")
}

func policyRequired(r grace.Reason) string {
	if r.Code == grace.ReasonNoPolicy {
		return "a policy that allows " + id(r)
	}
	return "a policy that allows it"
}

func policyHint(r grace.Reason) string {
	if r.Code == grace.ReasonNoPolicy {
		return "approve the run, or add a policy to trust.policies that allows it"
	}
	return "the policy " + id(r) + " is in trust.policies; deny beats require_approval beats allow"
}

func approval(r grace.Reason) string {
	if r.Code == grace.ReasonApprovalExpired {
		return until(r, "nobody decided by %s")
	}
	return "denied by " + id(r) + ": " + value(r.Actual, "")
}

func approvalHint(r grace.Reason) string {
	if r.Code == grace.ReasonApprovalExpired {
		return "raise trust.approval_ttl if people need longer"
	}
	return ""
}
