package config

import (
	"strings"

	"grace/internal/stage/govern"
)

// The variables of the original system, over the file's values in trust.
const (
	EnvAutoproveLowRisk = "SELF_HEAL_AUTOPROVE_LOW_RISK"
	EnvPredictiveShadow = "SELF_HEAL_PREDICTIVE_SHADOW"
	EnvObserveOnly      = "SELF_HEAL_OBSERVE_ONLY"
	EnvExecute          = "SELF_HEAL_EXECUTE"
)

// applyEnv sets what the environment says over what the file says. A variable
// that cannot be read as a boolean is a problem: guessing could let GRACE act.
func applyEnv(c *govern.Config, lookup func(string) (string, bool)) Problems {
	if lookup == nil {
		return nil
	}
	var problems Problems
	for _, v := range []struct {
		name string
		to   *bool
	}{
		{EnvAutoproveLowRisk, &c.AutoproveLowRisk},
		{EnvPredictiveShadow, &c.PredictiveShadow},
		{EnvObserveOnly, &c.ObserveOnly},
		{EnvExecute, &c.Execute},
	} {
		text, ok := lookup(v.name)
		if !ok {
			continue
		}
		switch strings.ToLower(text) {
		case "true", "1", "yes", "on":
			*v.to = true
		case "false", "0", "no", "off":
			*v.to = false
		default:
			problems = append(problems, Problem{
				File: "environment", Key: v.name,
				Message: "want true or false, got " + quote(text),
				Hint:    "true, 1, yes, on or false, 0, no, off; unset the variable to use the file's value",
			})
		}
	}
	return problems
}
