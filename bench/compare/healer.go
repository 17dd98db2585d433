package main

import (
	"context"
	"time"
)

// healer is what is compared: programs that watch a site and act on it.
type healer interface {
	// start returns when it serves.
	start(ctx context.Context, s site) error
	// calm tells whether nothing is under way or alerting.
	calm(ctx context.Context) (bool, error)
	// processes are those whose cost is counted.
	processes() []*process
	stop()
}

// site is where a healer works.
type site struct {
	dir      string            // of its own
	services map[string]string // address by service, without scheme
	control  string            // of the proxy, with scheme
	hook     string            // address for a receiver of webhooks
}

// contender is a healer and the terms on which it takes part.
type contender struct {
	Name  string        `json:"name"`
	Title string        `json:"title"`
	About string        `json:"about"`
	Given time.Duration `json:"-"` // for each fault
	port  int           // of its shop; nine more follow
	make  func() healer
}

// contenders in the order they are started.
func contenders(grace string) []contender {
	return []contender{
		{
			Name: "usual", Title: "Prometheus, usual", port: 21080, Given: 180 * time.Second,
			About: "scrape and evaluate every 15 s, `for: 1m`, rates over 1 m, group_wait 30 s",
			make:  func() healer { return &prometheus{speed: usualSpeed()} },
		},
		{
			Name: "grace", Title: "GRACE", port: 21140, Given: 90 * time.Second,
			About: "examples/shop/grace.yaml as it is but for ports; a person approves 5 s after being asked",
			make:  func() healer { return &graceHealer{program: grace, listen: "127.0.0.1:8021"} },
		},
		{
			Name: "fast", Title: "Prometheus, fast", port: 21100, Given: 90 * time.Second,
			About: "scrape and evaluate every 1 s, `for: 5s`, rates over 5 s, group_wait 1 s",
			make:  func() healer { return &prometheus{speed: fastSpeed()} },
		},
		{
			Name: "monit", Title: "monit", port: 21120, Given: 90 * time.Second,
			About: "cycle 5 s, a real request of every service (checkout: its health), an answer within 400 ms, `for 2 cycles then restart`",
			make:  func() healer { return &monit{} },
		},
	}
}
