package command

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
)

const defaultKillAfter = 5 * time.Second

// settings of a step, as package doc tells.
type settings struct {
	Argv      []grace.Text          `json:"argv"`
	Env       map[string]grace.Text `json:"env"`
	Inherit   []string              `json:"inherit"`
	Dir       grace.Text            `json:"dir"`
	OKCodes   []int                 `json:"ok_codes"`
	KillAfter grace.Duration        `json:"kill_after"`
}

// decode reads and judges settings. Do judges again, so that a secret cannot
// come into argv by way of a parameter.
func decode(with map[string]any) (settings, error) {
	var s settings
	if err := grace.DecodeSettings(with, &s); err != nil {
		return s, err
	}
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return s, grace.Field("argv", "is missing: give the program and its arguments as a list; there is no shell")
	}
	if len(s.Argv) == 1 && strings.ContainsAny(string(s.Argv[0]), " \t") {
		return s, grace.Field("argv", "%q: give the program and its arguments as a list; there is no shell", s.Argv[0])
	}
	for i, arg := range s.Argv {
		if hasSecret(arg) {
			return s, grace.Field(fmt.Sprintf("argv[%d]", i), "holds a secret, and every user of the host can read argv: pass it in env")
		}
		if strings.ContainsRune(string(arg), 0) {
			return s, grace.Field(fmt.Sprintf("argv[%d]", i), "holds a NUL")
		}
	}
	if hasSecret(s.Dir) {
		return s, grace.Field("dir", "holds a secret: pass it in env")
	}
	for name := range s.Env {
		if !variable(name) {
			return s, grace.Field("env", "%q is no name of a variable", name)
		}
	}
	for _, name := range s.Inherit {
		if !variable(name) {
			return s, grace.Field("inherit", "%q is no name of a variable", name)
		}
	}
	for _, code := range s.OKCodes {
		if code < 0 || code > 255 {
			return s, grace.Field("ok_codes", "%d is no exit code (0 to 255)", code)
		}
	}
	if s.KillAfter < 0 {
		return s, grace.Field("kill_after", "%s is negative", s.KillAfter)
	}
	return s, nil
}

func hasSecret(t grace.Text) bool {
	return strings.Contains(string(t), "${env:") || strings.Contains(string(t), "${file:")
}

func variable(name string) bool {
	return name != "" && !strings.ContainsAny(name, "=\x00 ")
}

func (s settings) argv() []string {
	out := make([]string, len(s.Argv))
	for i, arg := range s.Argv {
		out[i] = string(arg)
	}
	return out
}

func (s settings) killAfter() time.Duration {
	if s.KillAfter == 0 {
		return defaultKillAfter
	}
	return s.KillAfter.D()
}

func (s settings) accepts(code int) bool {
	if len(s.OKCodes) == 0 {
		return code == 0
	}
	return slices.Contains(s.OKCodes, code)
}

func (s settings) wanted() string {
	if len(s.OKCodes) == 0 {
		return "0"
	}
	parts := make([]string, len(s.OKCodes))
	for i, code := range s.OKCodes {
		parts[i] = strconv.Itoa(code)
	}
	return strings.Join(parts, " or ")
}
