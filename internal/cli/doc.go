// Package cli is what GRACE's command lines have in common: the one that runs
// and asks it (cmd/grace) and the one that shows and simulates it
// (cmd/grace-demo).
//
//	Output.Execute   runs one command line and gives its exit code
//	Output.Show      prints what was found: for people, or as JSON
//	Failure          an error with its exit code and what to do about it
//	Client           speaks the HTTP API
//	Table, Short ... how tables, durations and numbers look
//
// What a command found goes to stdout, problems go to stderr with a hint. All
// of it passes a filter, since names and messages come from outside and must
// not steer the terminal. The client never retries: what was asked once is
// done at most once.
package cli
