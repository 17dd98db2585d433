package config

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"grace"
	"grace/internal/forecast"
)

// Need is a secret or a program that a configuration needs of its machine.
type Need struct {
	Kind    string // "secret" or "program"
	Name    string
	Key     string
	Problem string // empty when it is there
}

// written is a text of a file that holds a reference.
type written struct{ path, text string }

// plainKeys are read before anything could resolve a reference, or name things.
var plainKeys = regexp.MustCompile(`^(listen|data_dir|mode|time_zone|external_url|playbooks_dir|(log|objectives|limits|change_windows|sense|diagnose|propose|learn|api|trust)\b.*` +
	`|telemetry\.otlp_listen|predict\.lstm|services\[\d+\]\.(name|owner|depends_on|labels|time_zone)\b.*|sensors\[\d+\]\.(name|service|address|interval|timeout|code|severity|type)` +
	`|(sensors\[\d+\]\.)?queries\[\d+\]\..*|metrics\[\d+\]\..*)$`)

// refers tells whether a text holds a reference to a secret.
func refers(text string) bool {
	return strings.Contains(text, "${env:") || strings.Contains(text, "${file:")
}

// reference notes a text with a reference. It is false when the key takes none,
// which is reported.
func (d *decoder) reference(path, text string) bool {
	if !refers(text) {
		return true
	}
	if plainKeys.MatchString(path) {
		d.add(path, "write the value itself; ${env:NAME} and ${file:PATH} are for secrets: headers, tokens, passwords, addresses of databases and receivers, settings of actions",
			"%s takes no references, and would be read as the text %s", lastKey(path), quote(text))
		d.plain[path] = true
		return false
	}
	d.written = append(d.written, written{path, text})
	return true
}

func lastKey(path string) string {
	return path[strings.LastIndexByte(path, '.')+1:]
}

// checkHost looks at what this machine has: secrets and programs. It may not be
// the machine that GRACE will run on, so what is missing is a warning.
func (c *checker) checkHost() {
	if !c.options.Host {
		return
	}
	for _, d := range append([]*decoder{c.root.d}, c.sources...) {
		for _, w := range d.written {
			for _, ref := range references(w.text) {
				if isSecretReference(ref) {
					c.need("secret", "${"+shorten(ref)+"}", spot{d, w.path}, func(at spot) { at.checkSecret(ref) })
				}
			}
		}
		for _, p := range d.programs {
			c.need("program", shorten(p.argv), spot{d, p.path}, func(at spot) { at.checkProgram(p.argv, p.dir) })
		}
	}
}

// need notes what is looked for, and what was found.
func (c *checker) need(kind, name string, at spot, look func(spot)) {
	before := len(at.d.problems)
	look(at)
	n := Need{Kind: kind, Name: name, Key: at.path}
	if len(at.d.problems) > before {
		n.Problem = at.d.problems[before].Message
	}
	c.needs = append(c.needs, n)
}

// maxSecretFile is more than any credential has.
const maxSecretFile = 1 << 20

// checkSecret looks whether a reference can be resolved. The value itself is
// never shown.
func (s spot) checkSecret(ref string) {
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		info, err := os.Stat(path)
		switch {
		case err == nil && !info.Mode().IsRegular():
			s.warn("give the path of a file", "${%s} is no file", shorten(ref))
			return
		case err == nil && info.Size() > maxSecretFile:
			s.warn("give the path of a file that holds the secret alone", "${%s} is a file of %d bytes, which is no secret", shorten(ref), info.Size())
			return
		}
	}
	value, _, err := grace.ExpandSecrets("${" + ref + "}")
	switch {
	case err != nil && strings.HasPrefix(ref, "env:"):
		s.warn("set it in GRACE's environment before it starts, for example with Environment= or EnvironmentFile= of its unit", "the variable %s is not set or empty", shorten(strings.TrimPrefix(ref, "env:")))
	case err != nil:
		s.warn("write the secret into that file, readable by the user GRACE runs as", "the file %s %s", shorten(strings.TrimPrefix(ref, "file:")), whyNot(err))
	case strings.ContainsAny(value, "\r\n"):
		s.warn("write it on one line; printf %s writes no line break, echo does", "the secret of ${%s} holds a line break, which no header or password may", shorten(ref))
	case strings.IndexFunc(value, unicode.IsControl) >= 0 || strings.TrimSpace(value) != value:
		s.warn("write it without spaces around it", "the secret of ${%s} begins or ends with a space, or holds a control character", shorten(ref))
	}
}

// whyNot says why a file or a program cannot be used, without its name.
func whyNot(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user"
	case errors.Is(err, exec.ErrNotFound):
		return "is not in PATH"
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return "cannot be read: " + pe.Err.Error()
	}
	return "is empty"
}

// program is one that an action, a check or a sensor starts.
type program struct{ path, argv, dir string }

func (s spot) program(argv, dir string) {
	if argv != "" && !strings.Contains(argv, "${") {
		s.d.programs = append(s.d.programs, program{s.path, argv, dir})
	}
}

// checkProgram looks whether a program can be started here.
func (s spot) checkProgram(argv, dir string) {
	if dir != "" && strings.Contains(argv, "/") && !filepath.IsAbs(argv) {
		argv = filepath.Join(dir, argv)
	}
	_, err := exec.LookPath(argv)
	if errors.Is(err, exec.ErrDot) {
		err = nil // found in the folder GRACE was started in
	}
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		s.warn("make it executable: chmod +x "+argv, "the program %s is not executable, or a folder", quote(argv))
	default:
		hint := "give its whole path"
		if strings.Contains(argv, "/") {
			hint = "is the path right? command -v " + filepath.Base(argv) + " finds programs"
		}
		if strings.ContainsAny(argv, " \t") {
			hint = "the first entry of argv is the program alone: argv: [" + strings.Join(strings.Fields(argv), ", ") + "]"
		}
		why := "does not exist"
		if errors.Is(err, exec.ErrNotFound) {
			why = "is not in PATH"
		}
		s.warn(hint+"; install it where GRACE runs", "the program %s %s", quote(argv), why)
	}
}

// checkFolder looks whether a folder can be written here, or made. Only writing
// shows it: the rights alone do not, for the superuser and in /proc.
func (s spot) checkFolder(path string) {
	path = filepath.Clean(path)
	for {
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			s.warn("give the path of a folder", "%s is a file", quote(path))
			return
		}
		if err == nil || path == filepath.Dir(path) {
			break
		}
		path = filepath.Dir(path)
	}
	trial, err := os.MkdirTemp(path, ".grace-check-*")
	if err == nil {
		err = os.Remove(trial)
	}
	if err != nil {
		why := err
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			why = pe.Err
		}
		s.warn("give a folder that the user GRACE runs as may write to, for example /var/lib/grace", "nothing can be written in %s: %v", quote(path), why)
	}
}

// checkNet reads a trained net, as the daemon does at its start.
func checkNet(at spot, path string) {
	if path == "" || at.failed() || refers(path) {
		return
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = new(forecast.LSTM).UnmarshalBinary(data)
	}
	if err != nil {
		at.add("train one with: grace forecast train; or leave the key out. A relative path starts where GRACE is started", "%v", err)
	}
}

// textsOf gives the texts of a list as an action has it, and an empty one for
// what is no text.
func textsOf(v any) []string {
	list, _ := v.([]any)
	out := make([]string, len(list))
	for i, x := range list {
		out[i], _ = x.(string)
	}
	return out
}
