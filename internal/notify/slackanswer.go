package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"grace"
	"grace/internal/event"
)

const (
	// tolerance of a request's time: Slack's own advice. An older one may be
	// one that somebody recorded.
	tolerance = 5 * time.Minute
	// answerTime is what Slack waits for an answer.
	answerTime = 2500 * time.Millisecond
	maxForm    = 256 << 10

	minReason = 3
	maxReason = 500
)

// VerifySlack tells whether Slack signed a request, and when.
func VerifySlack(secret string, h http.Header, body []byte, now time.Time) error {
	stamp := h.Get("X-Slack-Request-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || secret == "" {
		return errors.New("the request is not signed")
	}
	if d := now.Sub(time.Unix(seconds, 0)); d > tolerance || d < -tolerance {
		return errors.New("the request is too old or too new")
	}
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "v0:%s:", stamp)
	mac.Write(body)
	if !hmac.Equal([]byte("v0="+hex.EncodeToString(mac.Sum(nil))), []byte(h.Get("X-Slack-Signature"))) {
		return errors.New("the signature is wrong")
	}
	return nil
}

// pending is what a form remembers of the question it is about.
type pending struct {
	Approval grace.ApprovalID `json:"approval"`
	Revision int              `json:"revision"`
	Approve  bool             `json:"approve"`
}

// ServeSlack takes what people do with the buttons of a receiver. Its caller
// is Slack, known by the signature alone.
func (n *Notifier) ServeSlack(w http.ResponseWriter, r *http.Request, receiver string) {
	out := n.slackReceiver(receiver)
	if out == nil {
		http.Error(w, "there is no such Slack receiver", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
		return
	}
	var sec secrets
	secret := sec.expand("signing_secret", out.cfg.SigningSecret)
	if sec.err != nil {
		n.Log.ErrorContext(r.Context(), "the signing secret of Slack cannot be read", "receiver", receiver, "error", sec.err)
		http.Error(w, "the signature cannot be checked now", http.StatusServiceUnavailable)
		return
	}
	if err := VerifySlack(secret, r.Header, body, n.Now()); err != nil {
		n.Log.WarnContext(r.Context(), "a request in the name of Slack was refused", "receiver", receiver, "error", err, "remote", r.RemoteAddr)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var call slack.InteractionCallback
	form, err := url.ParseQuery(string(body))
	if err == nil {
		err = json.Unmarshal([]byte(form.Get("payload")), &call)
	}
	if err != nil {
		http.Error(w, "the payload cannot be read", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	switch call.Type {
	case slack.InteractionTypeBlockActions:
		n.pressed(ctx, out, &call)
	case slack.InteractionTypeViewSubmission:
		if problem := n.submitted(ctx, &call); problem != "" {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"response_action": "errors", "errors": map[string]string{inputReason: problem}})
		}
	default:
	}
}

func (n *Notifier) slackReceiver(name string) *slackSender {
	for _, w := range n.current().workers {
		if out, ok := w.out.(*slackSender); ok && w.name == name && out.cfg.SigningSecret != "" {
			return out
		}
	}
	return nil
}

// person tells who a Slack user is, or why that one may not answer.
func (n *Notifier) person(user string) (Person, string) {
	p, ok := n.current().people[user]
	switch {
	case !ok:
		return p, fmt.Sprintf("GRACE does not know you: add your Slack id %s under notify.people.", clean(user, 40))
	case !mayAnswer(p.Role):
		return p, fmt.Sprintf("You are %s with the role %s in GRACE; answering needs the role approver.", p.Name, p.Role)
	}
	return p, ""
}

// pressed answers a button with the form that asks for the reason.
func (n *Notifier) pressed(ctx context.Context, out *slackSender, call *slack.InteractionCallback) {
	for _, a := range call.ActionCallback.BlockActions {
		if a.ActionID != actionApprove && a.ActionID != actionDeny {
			continue
		}
		var sec secrets
		client := out.client(&sec)
		if sec.err != nil {
			n.Log.ErrorContext(ctx, "Slack was not answered", "error", sec.err)
			return
		}
		if _, refused := n.person(call.User.ID); refused != "" {
			if _, err := client.PostEphemeralContext(ctx, call.Channel.ID, call.User.ID, slack.MsgOptionText(escape(refused), false)); err != nil {
				n.Log.WarnContext(ctx, "a refusal did not reach Slack", "error", sec.hide(err))
			}
			return
		}
		id, revision, _ := strings.Cut(a.Value, " ")
		p := pending{Approval: grace.ApprovalID(id), Approve: a.ActionID == actionApprove}
		p.Revision, _ = strconv.Atoi(revision) // 0 is refused below
		if _, err := client.OpenViewContext(ctx, call.TriggerID, form(p)); err != nil {
			n.Log.WarnContext(ctx, "the form for a reason did not open in Slack", "error", sec.hide(err))
		}
		return
	}
}

// form asks for the reason.
func form(p pending) slack.ModalViewRequest {
	text := func(s string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
	}
	title := "Deny"
	if p.Approve {
		title = "Approve"
	}
	input := slack.NewPlainTextInputBlockElement(text("Kept in the audit log"), inputReason)
	input.MinLength, input.MaxLength, input.Multiline = minReason, maxReason, true
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: formDecide, PrivateMetadata: string(event.Encode(p)),
		Title: text(title), Submit: text(title), Close: text("Cancel"),
		Blocks: slack.Blocks{BlockSet: []slack.Block{
			slack.NewSectionBlock(text("Run "+clean(string(p.Approval), 100)), nil, nil),
			slack.NewInputBlock(inputReason, text("Why?"), nil, input),
		}},
	}
}

// submitted records the answer, and gives what was wrong with it. Who answers
// is asked again: the form may have been open for long.
func (n *Notifier) submitted(ctx context.Context, call *slack.InteractionCallback) string {
	if call.View.CallbackID != formDecide {
		return ""
	}
	who, refused := n.person(call.User.ID)
	if refused != "" {
		return refused
	}
	var p pending
	if json.Unmarshal([]byte(call.View.PrivateMetadata), &p) != nil || p.Approval == "" || p.Revision < 1 {
		return "GRACE cannot tell which question this is about; answer it in the console."
	}
	reason := ""
	if call.View.State != nil {
		reason = strings.TrimSpace(call.View.State.Values[inputReason][inputReason].Value)
	}
	if length := utf8.RuneCountInString(reason); length < minReason || length > maxReason {
		return fmt.Sprintf("The reason has %d characters; %d to %d are wanted.", length, minReason, maxReason)
	}
	err := n.Decide(ctx, p.Approval, p.Approve, reason, "slack:"+who.Name, p.Revision)
	if err == nil {
		return ""
	}
	if no, ok := errors.AsType[*Refused](err); ok {
		return no.Message
	}
	n.Log.ErrorContext(ctx, "an answer from Slack was not recorded", "approval", p.Approval, "by", who.Name, "error", err)
	return "GRACE could not record the answer; try again, or answer in the console."
}
