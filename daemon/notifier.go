package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"grace"
	"grace/internal/api"
	"grace/internal/config"
	"grace/internal/notify"
)

// newNotifier builds who tells people.
func (d *Daemon) newNotifier() (*notify.Notifier, error) {
	return notify.New(notifySettings(d.cfg), notify.Deps{
		Store: d.store, Log: d.log.With("part", "notify"), Now: now, Owner: d.owner, Decide: d.decideFromOutside,
	})
}

func notifySettings(cfg *config.Config) notify.Settings {
	return notify.Settings{Config: cfg.Notify, External: cfg.ExternalURL, Location: cfg.Location, Services: cfg.Services}
}

// decideFromOutside records an answer that came by a receiver, as one by the API
// is. What the person should know of a refusal is told in words.
func (d *Daemon) decideFromOutside(ctx context.Context, id grace.ApprovalID, approve bool, reason, actor string, revision int) error {
	_, err := d.api.Decide(ctx, d.roleOf(actor), id, api.DecisionInput{Approve: approve, Reason: reason, Actor: actor, Revision: revision})
	if p, refused := errors.AsType[*api.Problem](err); refused {
		text := "Not recorded: " + p.Detail + "."
		if p.Hint != "" {
			text += " What to do: " + p.Hint + "."
		}
		return &notify.Refused{Message: text}
	}
	return err
}

// roleOf gives what a person of Slack may do.
func (d *Daemon) roleOf(actor string) string {
	for _, p := range d.config().Notify.People {
		if "slack:"+p.Name == actor {
			return p.Role
		}
	}
	return ""
}

// samePerson gives all names of the person whom one of them is.
func (d *Daemon) samePerson(actor string) []string {
	for _, p := range d.config().Notify.People {
		if names := p.Names(); slices.Contains(names, actor) {
			return names
		}
	}
	return []string{actor}
}

// slackInteractions is what Slack calls when somebody presses a button.
func (d *Daemon) slackInteractions() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.notifier.ServeSlack(w, r, r.PathValue("receiver"))
	})
}

// notifyCollector is the part of /metrics about telling people.
type notifyCollector struct{ d *Daemon }

// Describe meets prometheus.Collector. Nothing is promised: the set depends on
// what can be read.
func (notifyCollector) Describe(chan<- *prometheus.Desc) {}

// Collect meets prometheus.Collector.
func (c notifyCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if c.d.notifier == nil {
		return // a start that has not come so far
	}
	s, err := c.d.notifier.Status(ctx)
	if err != nil {
		return
	}
	metric := func(kind prometheus.ValueType, name, help string, v float64, receiver ...string) {
		var labels []string
		if len(receiver) > 0 {
			labels = []string{"receiver"}
		}
		out <- prometheus.MustNewConstMetric(describe(name, help, labels...), kind, v, receiver...)
	}
	silent := 0.0
	if !s.Told {
		silent = 1
	}
	metric(prometheus.GaugeValue, "grace_notify_nobody_told", "1 when no receiver is configured, or none accepts messages.", silent)
	for _, r := range s.Receivers {
		metric(prometheus.GaugeValue, "grace_notify_undelivered", "Messages that wait or are dead letters, by receiver.", float64(r.Waiting+r.Letters), r.Name)
		metric(prometheus.CounterValue, "grace_notify_delivered_total", "Messages that a receiver accepted.", float64(r.Delivered), r.Name)
		metric(prometheus.CounterValue, "grace_notify_dead_letters_total", "Messages that a receiver refused for good.", float64(r.Dead), r.Name)
		if r.LastSuccess != nil {
			metric(prometheus.GaugeValue, "grace_notify_last_success_timestamp_seconds", "When a receiver accepted a message last.",
				float64(r.LastSuccess.UnixMilli())/1000, r.Name)
		}
	}
}

// reloadNotify takes a new configuration over.
func (d *Daemon) reloadNotify(ctx context.Context, cfg *config.Config) error {
	if err := d.notifier.Reconfigure(ctx, notifySettings(cfg)); err != nil {
		return fmt.Errorf("reload notify: %w", err)
	}
	return nil
}
