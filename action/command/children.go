package command

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// namedChildren bounds how many processes are named.
const namedChildren = 5

// leftBehind names the processes that the program started and that go on: who
// reads the outcome should know that something is running still.
func (p *process) leftBehind() string {
	group := p.guarded.PID
	if syscall.Kill(-group, 0) != nil {
		return "" // the usual case, and cheap
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return "processes that it started go on"
	}
	var names []string
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp ...; the name may hold anything.
		head, rest, ok := cutLast(data, ")")
		fields := strings.Fields(string(rest))
		if !ok || len(fields) < 3 || fields[2] != strconv.Itoa(group) || fields[0] == "Z" {
			continue
		}
		pid, name, _ := bytes.Cut(head, []byte(" ("))
		names = append(names, fmt.Sprintf("%s (pid %s)", name, pid))
	}
	if len(names) == 0 {
		return ""
	}
	more := ""
	if n := len(names) - namedChildren; n > 0 {
		names, more = names[:namedChildren], fmt.Sprintf(" and %d more", n)
	}
	return "it left running: " + strings.Join(names, ", ") + more
}

func cutLast(data []byte, sep string) (before, after []byte, ok bool) {
	i := bytes.LastIndex(data, []byte(sep))
	if i < 0 {
		return data, nil, false
	}
	return data[:i], data[i+len(sep):], true
}
