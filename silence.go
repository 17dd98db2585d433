package grace

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// SilenceID names a silence.
type SilenceID string

// MaxSilence is how long a silence may last: a longer one is forgotten, or a slip.
const MaxSilence = 366 * 24 * time.Hour

// Silence keeps GRACE's hands and voice off services for a time: what matches is
// observed and shown, and neither acted on nor told to people.
type Silence struct {
	ID      SilenceID         `json:"id"`
	Service string            `json:"service,omitempty" doc:"name of the services, * and ? stand for others"`
	Regex   string            `json:"regex,omitempty" doc:"regular expression that the whole name must match, instead of service"`
	Labels  map[string]string `json:"labels,omitempty" doc:"labels that the service must have, * and ? stand for others"`
	Starts  time.Time         `json:"starts"`
	Ends    time.Time         `json:"ends"`
	Reason  string            `json:"reason"`
	Actor   string            `json:"actor"`
	Ended   *Note             `json:"ended,omitempty" doc:"who ended it before its time"`
	At      time.Time         `json:"at" doc:"when it was made"`
}

// Validate names everything that is wrong with the silence.
func (s *Silence) Validate() error {
	var errs []error
	if s.Service == "" && s.Regex == "" && len(s.Labels) == 0 {
		errs = append(errs, Field("service", "say what is silenced: service, regex or labels"))
	}
	if s.Service != "" && s.Regex != "" {
		errs = append(errs, Field("regex", "give either service or regex"))
	}
	if _, err := path.Match(s.Service, ""); err != nil {
		errs = append(errs, Field("service", "%q: %w", s.Service, err))
	}
	for k, v := range s.Labels {
		if _, err := path.Match(v, ""); err != nil {
			errs = append(errs, Field("labels."+k, "%q: %w", v, err))
		}
	}
	_, err := s.compiled()
	errs = append(errs, Under("regex", err))
	if s.Reason == "" {
		errs = append(errs, Field("reason", "is missing; others want to know why"))
	}
	switch lasts := s.Ends.Sub(s.Starts); {
	case !s.Ends.After(s.Starts):
		errs = append(errs, Field("ends", "%s is not after the start %s", s.Ends.UTC().Format(time.RFC3339), s.Starts.UTC().Format(time.RFC3339)))
	case lasts > MaxSilence:
		errs = append(errs, Field("ends", "it would last %d days, and a silence lasts at most %d; give an earlier end, it can be silenced again then", days(lasts), days(MaxSilence)))
	}
	return errors.Join(errs...)
}

// days counts days that have begun.
func days(d time.Duration) int { return int((d + 24*time.Hour - 1) / (24 * time.Hour)) }

func (s *Silence) compiled() (*regexp.Regexp, error) { return regexp.Compile("^(?:" + s.Regex + ")$") }

// Active tells whether the silence is in force.
func (s *Silence) Active(now time.Time) bool {
	return s.Ended == nil && !now.Before(s.Starts) && now.Before(s.Ends)
}

// Matches tells whether the silence is about a service.
func (s *Silence) Matches(service Service) bool { return s.Matcher()(service) }

// Matcher is Matches for many services: the expression is compiled once.
func (s *Silence) Matcher() func(Service) bool {
	var re *regexp.Regexp
	if s.Regex != "" {
		var err error
		if re, err = s.compiled(); err != nil {
			return func(Service) bool { return false }
		}
	}
	return func(service Service) bool {
		if s.Service != "" {
			if ok, err := path.Match(s.Service, string(service.ID)); err != nil || !ok {
				return false
			}
		}
		if re != nil && !re.MatchString(string(service.ID)) {
			return false
		}
		for k, v := range s.Labels {
			if ok, err := path.Match(v, service.Labels[k]); err != nil || !ok || service.Labels[k] == "" {
				return false
			}
		}
		return s.Service != "" || s.Regex != "" || len(s.Labels) > 0
	}
}

// What names what the silence is about: services, then labels in their order.
func (s *Silence) What() string {
	var parts []string
	switch {
	case s.Service != "":
		parts = append(parts, s.Service)
	case s.Regex != "":
		parts = append(parts, "/"+s.Regex+"/")
	}
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		parts = append(parts, k+"="+s.Labels[k])
	}
	return strings.Join(parts, ", ")
}

func (s *Silence) String() string {
	return fmt.Sprintf("%s silenced it until %s: %s", s.Actor, s.Ends.UTC().Format(time.RFC3339), s.Reason)
}
