package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"grace/internal/cli"
	"grace/internal/config"
)

// kind is what a name on the command line may be of.
type kind struct {
	noun string
	list ids
	see  string // the command that lists them
}

func services() kind { return kind{"service", serviceIDs, "grace services"} }

func playbooks() kind { return kind{"playbook", playbookIDs, "grace playbooks list"} }

// absent says that there is no such name, and which was probably meant. It asks
// the daemon for the names.
func (k kind) absent(ctx context.Context, c *client, name string, cause error) error {
	return unknownName(k.noun, name, bare(k.list(ctx, c)), k.see, cause)
}

// unless gives nil when the daemon knows the name or does not list its names.
func (k kind) unless(ctx context.Context, c *client, name string, cause error) error {
	if name == "" {
		return nil
	}
	known := k.list(ctx, c)
	if known == nil || slices.Contains(known, name) {
		return nil
	}
	return unknownName(k.noun, name, known, k.see, cause)
}

// unknownName says that there is no such name, and which of those known was
// probably meant. Ids that GRACE made are likened to none: they mean nothing.
func unknownName(noun, name string, known []string, see string, cause error) error {
	f := &cli.Failure{Code: cli.ExitNotFound, Message: fmt.Sprintf("there is no %s %q", noun, name), Hint: "see: " + see, Cause: cause}
	if meant := config.Suggest(name, known); meant != "" {
		f.Hint = "did you mean " + meant + "? " + f.Hint
	}
	return f
}

// bare drops what completion shows beside a name.
func bare(list []string) []string {
	out := make([]string, len(list))
	for i, one := range list {
		out[i], _, _ = strings.Cut(one, "\t")
	}
	return out
}

// refusedNames says which of the names of a refused request the daemon does not
// know; otherwise the refusal stands.
func refusedNames(ctx context.Context, c *client, err error, playbook, service string) error {
	if f, ok := errors.AsType[*cli.Failure](err); !ok || f.Code != cli.ExitNotFound && f.Code != cli.ExitUsage {
		return err
	}
	return firstOf(playbooks().unless(ctx, c, playbook, err), services().unless(ctx, c, service, err), err)
}

// emptyFor says why a filtered list is empty where a name of the filter is not
// known.
func emptyFor(ctx context.Context, c *client, playbook, service string) error {
	return firstOf(playbooks().unless(ctx, c, playbook, nil), services().unless(ctx, c, service, nil))
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// oneOf holds a flag's value to the values that there are; empty is none.
func oneOf[T ~string](flag, value string, allowed []T) error {
	if value == "" || slices.Contains(allowed, T(value)) {
		return nil
	}
	names := make([]string, len(allowed))
	for i, v := range allowed {
		names[i] = string(v)
	}
	hint := "one of " + strings.Join(names, ", ")
	if meant := config.Suggest(value, names); meant != "" {
		hint = "did you mean " + meant + "? " + hint
	}
	return cli.UsageError(fmt.Sprintf("--%s %q is not one of its values", flag, value), hint)
}
