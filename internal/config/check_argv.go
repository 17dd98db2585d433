package config

import (
	"regexp"
	"slices"
	"strings"
)

// What a shell reads in a command line: what joins commands, and where output
// goes. The value of an option for a separator is neither.
var (
	joiner    = regexp.MustCompile(`^(\|\|?|&&?|;)$`)
	redirect  = regexp.MustCompile(`^(<{1,3}|[0-9&]?>>?(/.*)?|[0-9]?>&[0-9-])$`)
	separator = regexp.MustCompile(`^(-[dFt]|--(delimiter|field-separator|separator))$`)
)

// checkNoShell warns of an argument that means something to a shell alone. It is
// no more than a warning: a program may want it (expr 3 '>' 2).
func checkNoShell(at spot, argv []string) {
	for i, arg := range argv {
		if i == 0 || !joiner.MatchString(arg) && !redirect.MatchString(arg) || separator.MatchString(argv[i-1]) || arg == ";" && ofFind(argv) {
			continue
		}
		line := strings.ReplaceAll(strings.Join(argv, " "), `"`, `\"`)
		hint := "if a shell is to read it, say so: argv: [sh, -c, \"" + shorten(line) + "\"]"
		if slices.Contains(argv[:i], "-c") {
			hint = "the whole line is one argument after -c"
		}
		at.item(i).warn(hint+"; leave it so if the program wants it",
			"argv is no shell: %s is handed to %s as an argument", quote(arg), shorten(argv[0]))
		return // what follows is of the same mistake
	}
}

// ofFind tells whether a semicolon ends a command of find's.
func ofFind(argv []string) bool {
	return slices.ContainsFunc(argv, func(arg string) bool { return slices.Contains([]string{"-exec", "-execdir", "-ok", "-okdir"}, arg) })
}
