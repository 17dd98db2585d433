package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// Deps are what a Notifier stands on.
type Deps struct {
	Store  *store.Store
	Log    *slog.Logger
	Now    func() time.Time
	Owner  string         // this process, among replicas
	Jitter func() float64 // 0 to 1; default random
	// Decide records a person's answer. A *Refused is shown to the person.
	Decide func(ctx context.Context, id grace.ApprovalID, approve bool, reason, actor string, revision int) error
}

// Settings are what a Notifier is told by the configuration.
type Settings struct {
	Config

	External string         // base of links
	Location *time.Location // of the times in messages
	Services []grace.Service
}

// Refused says to a person, in words, why an answer does not count.
type Refused struct{ Message string }

func (r *Refused) Error() string { return r.Message }

// Notifier tells people. Make it with New, then Start it.
type Notifier struct {
	Deps

	turn   sync.Mutex // held by Start, Reconfigure and Stop
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu  sync.Mutex // guards set
	set *setup

	scanned int64         // the ladder's own: events up to here were looked at
	during  time.Duration // how often a worker looks up while an attempt is under way
}

// setup is one configuration's part. It is never changed, only swapped.
type setup struct {
	Settings

	router   *Router
	services map[grace.ServiceID]grace.Service
	workers  []*worker
	people   map[string]Person // by Slack user id
}

// sender speaks to one receiver.
type sender interface {
	// send delivers a message. A *refusal is final, a *later says when to come
	// again, and of a *partly some have it and the others are told by a letter; any
	// other error is tried again. No error holds a secret.
	send(ctx context.Context, m *Message, t Thread) (Thread, error)
}

// Thread is what a receiver called earlier messages: the first one of the
// thread, and the one that asked. Empty is none.
type Thread struct {
	Root, Question string

	left   *partly // who did not get the message
	unsent bool    // the receiver is not sent such messages, which says nothing of it
}

// New builds a notifier. Nothing is sent before Start.
func New(s Settings, d Deps) (*Notifier, error) {
	n := &Notifier{Deps: d, during: idle}
	if n.Jitter == nil {
		n.Jitter = rand.Float64
	}
	if n.Log == nil {
		n.Log = slog.New(slog.DiscardHandler)
	}
	set, err := n.build(s)
	if err != nil {
		return nil, err
	}
	n.set = set
	return n, nil
}

func (n *Notifier) build(s Settings) (*setup, error) {
	set := &setup{Settings: s, services: map[grace.ServiceID]grace.Service{}, people: map[string]Person{}}
	var err error
	if set.router, err = NewRouter(s.Config); err != nil {
		return nil, err
	}
	for _, service := range s.Services {
		set.services[service.ID] = service
	}
	for _, p := range s.People {
		set.people[p.Slack] = p
	}
	for _, r := range s.Receivers {
		out, err := newSender(r)
		if err != nil {
			return nil, fmt.Errorf("receiver %s: %w", r.Name, err)
		}
		set.workers = append(set.workers, &worker{n: n, set: set, name: r.Name, timeout: r.timeout(), out: out, poke: make(chan struct{}, 1), ahead: map[int64]fate{}, bad: map[string]int64{}})
	}
	return set, nil
}

func newSender(r Receiver) (sender, error) {
	if r.TLS.Mode != "" && r.Type != "email" {
		return nil, grace.Field("tls.mode", "%q is only for type email; remove it, or give ca, cert, key, server_name or insecure", r.TLS.Mode)
	}
	client, err := newClient(r)
	if err != nil {
		return nil, err
	}
	switch r.Type {
	case "slack":
		return &slackSender{cfg: r, http: client}, nil
	case "pagerduty":
		return &pagerduty{cfg: r, http: client}, nil
	case "email":
		return newEmail(r)
	case "webhook":
		return newWebhook(r, client)
	case "teams":
		return &teams{cfg: r, http: client}, nil
	case "ntfy":
		return &ntfy{cfg: r, http: client}, nil
	case "mattermost":
		return &mattermost{cfg: r, http: client}, nil
	}
	return nil, grace.Field("type", "unknown %q", r.Type)
}

// Check tells what is wrong with a receiver's settings that its type alone
// finds: templates, certificates. The error is a [grace.FieldError].
func Check(r Receiver) error {
	_, err := newSender(r)
	return err
}

// current gives the configuration in force.
func (n *Notifier) current() *setup {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.set
}

func (n *Notifier) writer() messageWriter {
	set := n.current()
	return messageWriter{now: n.Now(), zone: set.Location, external: set.External, services: set.services}
}

// Start registers the receivers and begins to deliver.
func (n *Notifier) Start(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	return n.start(ctx)
}

func (n *Notifier) start(ctx context.Context) error {
	set := n.current()
	if err := n.enrol(ctx, set); err != nil {
		return err
	}
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, w := range set.workers {
		n.done.Go(func() { w.run(ctx) })
	}
	n.done.Go(func() { n.climb(ctx) })
	n.done.Go(func() { n.wake(ctx, set) })
	return nil
}

// enrol makes the rows of the receivers, and forgets those that are configured no
// more, by no other replica either.
func (n *Notifier) enrol(ctx context.Context, set *setup) error {
	known := append([]string{ladderName}, set.router.receivers...)
	rows, err := n.Store.Receivers(ctx, n.Store.Q())
	if err != nil {
		return err
	}
	for _, row := range rows {
		if slices.Contains(known, row.Name) {
			continue
		}
		if mine, err := n.Store.Claim(ctx, "notify/"+row.Name, n.Owner, claimFor); err != nil {
			return err
		} else if !mine {
			continue
		}
		if err := n.Store.ForgetReceiver(ctx, row.Name); err != nil {
			return err
		}
	}
	for _, name := range known {
		if err := n.Store.RegisterReceiver(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// wake passes on that events were committed.
func (n *Notifier) wake(ctx context.Context, set *setup) {
	for range n.Store.Wake(ctx) {
		for _, w := range set.workers {
			select {
			case w.poke <- struct{}{}:
			default:
			}
		}
	}
}

// Reconfigure swaps the configuration; on an error nothing has changed.
func (n *Notifier) Reconfigure(ctx context.Context, s Settings) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	set, err := n.build(s)
	if err != nil {
		return err
	}
	if err := n.enrol(ctx, set); err != nil {
		return err
	}
	running := n.cancel != nil
	n.halt()
	n.mu.Lock()
	n.set = set
	n.mu.Unlock()
	if !running {
		return nil
	}
	return n.start(ctx)
}

// Stop ends the workers and waits for them. What is under way has a second to end;
// else it is broken off, and sent again after the next start.
func (n *Notifier) Stop() {
	n.turn.Lock()
	defer n.turn.Unlock()
	n.halt()
}

func (n *Notifier) halt() {
	if n.cancel != nil {
		n.cancel()
		n.cancel = nil
	}
	n.done.Wait()
}

// TestOutcome is what became of a test message.
type TestOutcome struct {
	Receiver string         `json:"receiver"`
	OK       bool           `json:"ok"`
	Error    string         `json:"error,omitempty"`
	Took     grace.Duration `json:"took"`
}

// ErrUnknown is about a receiver or a dead letter that is not there.
var ErrUnknown = errors.New("unknown receiver")

// Test sends a message through one receiver, or through each when name is
// empty, past routes and cursors.
func (n *Notifier) Test(ctx context.Context, name, actor string) ([]TestOutcome, error) {
	var asked []*worker
	for _, w := range n.current().workers {
		if name == "" || name == w.name {
			asked = append(asked, w)
		}
	}
	out := make([]TestOutcome, len(asked))
	var sending sync.WaitGroup
	for i, w := range asked {
		sending.Go(func() { out[i] = n.test(ctx, w, actor) })
	}
	sending.Wait()
	if name != "" && len(out) == 0 {
		return nil, fmt.Errorf("%w %s: %s", ErrUnknown, name, n.known())
	}
	return out, nil
}

func (n *Notifier) test(ctx context.Context, w *worker, actor string) TestOutcome {
	now := n.Now()
	m := &Message{
		Key: fmt.Sprintf("grace/%s/test-%d", w.name, now.UnixNano()), Kind: Test, Type: "self_heal.notify.test",
		Title: "Test message of GRACE", What: "Sent" + by(actor) + " at " + n.writer().stamp(now), Severity: grace.SeverityInfo,
		Do: "Nothing: this receiver works", Thread: "test", Subject: "test", At: now, Link: n.writer().link("", ""),
	}
	if _, pages := w.out.(*pagerduty); pages {
		m.Ended = true // nobody is called out of bed
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	began := time.Now()
	_, err := w.out.send(ctx, m, Thread{})
	o := TestOutcome{Receiver: w.name, OK: err == nil, Took: grace.Duration(time.Since(began).Round(time.Millisecond))}
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

func (n *Notifier) known() string {
	set := n.current()
	if len(set.router.receivers) == 0 {
		return "none is configured under notify.receivers"
	}
	return "there are " + strings.Join(set.router.receivers, ", ")
}

// Retry has a dead letter sent again, or all when id is empty. It gives how
// many. They are read in the transaction that writes them: one that was delivered
// meanwhile stays delivered.
func (n *Notifier) Retry(ctx context.Context, id, actor string) (int, error) {
	if id != "" {
		receivers := n.current().router.receivers
		return n.retry(ctx, actor, func(ctx context.Context, tx store.Tx) ([]store.DeadLetter, error) {
			d, err := n.Store.DeadLetter(ctx, tx, id)
			if err == nil && !slices.Contains(receivers, d.Receiver) {
				err = fmt.Errorf("%w %s: %s", ErrUnknown, d.Receiver, n.known())
			}
			return []store.DeadLetter{d}, err
		})
	}
	for total := 0; ; {
		some, err := n.retry(ctx, actor, func(ctx context.Context, tx store.Tx) ([]store.DeadLetter, error) {
			return n.Store.WaitingLetters(ctx, tx, retryBatch)
		})
		if total += some; err != nil || some == 0 {
			return total, err
		}
	}
}

const retryBatch = 100

// retry has the letters sent again that read gives.
func (n *Notifier) retry(ctx context.Context, actor string, read func(context.Context, store.Tx) ([]store.DeadLetter, error)) (int, error) {
	total := 0
	err := n.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		letters, err := read(ctx, tx)
		if total = len(letters); err != nil || total == 0 {
			return err
		}
		events := make([]event.Event, len(letters))
		for i, d := range letters {
			d.Retry, d.Attempts = true, 0
			events[i] = event.LetterChanged{Letter: d, Actor: actor, At: n.Now()}
		}
		return n.Store.Append(ctx, tx, events...)
	})
	if err != nil {
		return 0, err
	}
	return total, nil
}
