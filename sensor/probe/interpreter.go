package probe

import (
	"regexp"
	"strings"
)

// broken matches what interpreters write to standard error when a script itself
// is wrong: a module, program or file that is not there, a text that cannot be
// parsed, a name that nothing defines. Only what no answer of the target can
// bring about is listed: a traceback of a refused connection is a failed check.
var broken = regexp.MustCompile(`(?m)` + strings.Join([]string{
	// Python; the exception ends the traceback.
	`^ +File "[\s\S]*^(ModuleNotFoundError|ImportError|SyntaxError|IndentationError|TabError|NameError|UnboundLocalError): .*\s*\z`,
	`^\S*python[0-9.]*: (can't open file|No module named|Error while finding module specification for) `,
	// bash, dash and their like.
	`^\S+: line \d+: .+: command not found$`,
	`^\S+: \d+: \S+: not found$`,
	`^\S+: (-c: )?(line )?\d+: [Ss]yntax error`,
	// node.
	`^Error( \[ERR_MODULE_NOT_FOUND\])?: Cannot find (module|package) '`,
	// ruby.
	` \((LoadError|SyntaxError|NameError)\)$`,
	// perl.
	`^Can't locate \S+ in @INC `, `^Can't open perl script `, `^BEGIN failed--compilation aborted`, `^Execution of .* aborted due to compilation errors`,
}, "|"))
