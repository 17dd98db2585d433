package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"grace"
	"grace/internal/config"
	"grace/internal/store"
)

const (
	notifyCursor  = "notify"
	notifyPattern = "incident.opened"
	notifyBatch   = 20
	notifyPause   = time.Second
	notifyMax     = 5 * time.Minute
	// notifySpare is what a replica's claim on the next notification lasts
	// longer than the webhook's timeout.
	notifySpare = 5 * time.Second
)

// notify sends every incident.opened event to the webhook, in order, until it
// answers 2xx: at least once, with the event's id as idempotency key. Where it
// is lives in the store, so nothing is lost by a restart. Of several replicas
// one posts: the others find the notification claimed.
func (d *Daemon) notify(ctx context.Context) {
	client := newNotifyClient()
	defer client.CloseIdleConnections()
	pause := notifyPause
	for {
		err := d.notifyNext(ctx, client, d.config().Notify.Webhook)
		if err != nil && ctx.Err() == nil {
			d.log.Warn("notification not delivered; it is tried again", "error", err, "in", pause.String())
			pause = min(2*pause, notifyMax)
		} else {
			pause = notifyPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// newNotifyClient follows no redirects: the headers hold secrets.
func newNotifyClient() *http.Client {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		client.Transport = t.Clone()
	}
	return client
}

func (d *Daemon) notifyNext(ctx context.Context, client *http.Client, hook *config.Webhook) error {
	events, err := d.undelivered(ctx)
	if err != nil || len(events) == 0 {
		return err
	}
	spare := notifySpare
	if hook != nil {
		spare += hook.Timeout.D()
	}
	if mine, err := d.store.Claim(ctx, notifyCursor, d.owner, spare); err != nil || !mine {
		return err
	}
	// Again: another one may have delivered them before the claim.
	if events, err = d.undelivered(ctx); err != nil {
		return err
	}
	for _, e := range events {
		// Without a webhook the cursor moves on all the same: a webhook that
		// is configured later is not flooded with the past.
		if hook != nil {
			if err := post(ctx, client, *hook, e); err != nil {
				return err
			}
		}
		if err := d.delivered(ctx, e); err != nil {
			return err
		}
		if mine, err := d.store.Claim(ctx, notifyCursor, d.owner, spare); err != nil || !mine {
			return err
		}
	}
	return nil
}

// delivered records a notification, also while the daemon is being stopped: it
// would be posted once more after the next start.
func (d *Daemon) delivered(ctx context.Context, e grace.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	err := d.store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return d.store.SetCursor(ctx, tx, notifyCursor, e.ID)
	})
	if err != nil {
		return fmt.Errorf("record a delivered notification: %w", err)
	}
	return nil
}

// undelivered reads the next notifications.
func (d *Daemon) undelivered(ctx context.Context) ([]grace.Event, error) {
	after, err := d.store.Cursor(ctx, d.store.Q(), notifyCursor)
	if err != nil {
		return nil, fmt.Errorf("read where notifications are: %w", err)
	}
	events, err := d.store.Events(ctx, d.store.Q(), after, []string{notifyPattern}, notifyBatch)
	if err != nil {
		return nil, fmt.Errorf("read notifications: %w", err)
	}
	return events, nil
}

func post(ctx context.Context, client *http.Client, hook config.Webhook, e grace.Event) error {
	url, secrets, err := grace.ExpandSecrets(hook.URL)
	if err != nil {
		return fmt.Errorf("notify.webhook.url: %w", err)
	}
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event %d: %w", e.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, hook.Timeout.D())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil { // it quotes the URL, which may hold a secret
		return fmt.Errorf("notify.webhook: %s", grace.Redact(err.Error(), secrets))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "grace-event-"+strconv.FormatInt(e.ID, 10))
	for k, v := range hook.Headers {
		value, _, err := grace.ExpandSecrets(v)
		if err != nil {
			return fmt.Errorf("notify.webhook.headers.%s: %w", k, err)
		}
		req.Header.Set(k, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("notify.webhook: %s", grace.Redact(err.Error(), secrets))
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, grace.MaxOutput)); err != nil {
		return fmt.Errorf("notify.webhook: read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("notify.webhook answered %s", resp.Status)
	}
	return nil
}
