package notify

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/slack-go/slack"

	"grace"
)

// slackSender writes to a channel: one thread a run or incident, buttons where
// there is a question, which give way to the answer.
type slackSender struct {
	cfg  Receiver
	http *http.Client
}

// Actions and forms that come back from Slack.
const (
	actionApprove = "grace_approve"
	actionDeny    = "grace_deny"
	formDecide    = "grace_decide"
	inputReason   = "reason"
)

// client makes a client with the token as it is now.
func (s *slackSender) client(sec *secrets) *slack.Client {
	options := []slack.Option{slack.OptionHTTPClient(s.http)}
	if url := sec.expand("api_url", s.cfg.APIURL); url != "" {
		options = append(options, slack.OptionAPIURL(strings.TrimRight(url, "/")+"/"))
	}
	return slack.New(sec.expand("token", s.cfg.Token), options...)
}

func (s *slackSender) send(ctx context.Context, m *Message, t Thread) (Thread, error) {
	var sec secrets
	client := s.client(&sec)
	if sec.err != nil {
		return Thread{}, sec.err
	}
	asks := m.Question != nil && s.cfg.SigningSecret != ""
	options := []slack.MsgOption{
		slack.MsgOptionText(escape(m.Title), false), // what a phone shows
		slack.MsgOptionBlocks(blocks(m, asks)...), slack.MsgOptionDisableLinkUnfurl(),
		slack.MsgOptionMetadata(slack.SlackMetadata{EventType: "grace", EventPayload: map[string]any{"key": m.Key}}),
	}
	channel, root := splitRef(t.Root)
	if channel == "" {
		channel = s.cfg.Channel
	}
	if root != "" {
		options = append(options, slack.MsgOptionTS(root))
	}
	channel, ts, err := client.PostMessageContext(ctx, channel, options...)
	if err != nil {
		return Thread{}, sec.hide(judgeSlack(err))
	}
	out := Thread{}
	if root == "" {
		out.Root = channel + " " + ts
	}
	if asks {
		out.Question = channel + " " + ts
	}
	if channel, asked := splitRef(t.Question); m.over() && asked != "" && strings.HasPrefix(m.Type, "self_heal.approval.") {
		// The answer is told; that the buttons stay would only confuse.
		_, _, _, _ = client.UpdateMessageContext(ctx, channel, asked,
			slack.MsgOptionText(escape(m.Title), false), slack.MsgOptionBlocks(blocks(m, false)...))
	}
	return out, nil
}

func splitRef(ref string) (channel, ts string) {
	channel, ts, _ = strings.Cut(ref, " ")
	return channel, ts
}

// judgeSlack tells what an error means for the message.
func judgeSlack(err error) error {
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return &later{err, limited.RetryAfter}
	}
	if status, ok := errors.AsType[slack.StatusCodeError](err); ok {
		return judge(status.Code, "", "")
	}
	if refused, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		switch refused.Err {
		case "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org":
			return err
		case "ratelimited", "rate_limited", "message_limit_exceeded":
			return &later{err, parseRetryAfter("")}
		}
		return &refusal{err}
	}
	return err
}

// escape takes from text what Slack reads as marks.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// blocks lay a message out. What came from outside is plain text.
func blocks(m *Message, asks bool) []slack.Block {
	mark := map[grace.Severity]string{grace.SeverityCritical: "🔴 ", grace.SeverityWarning: "🟡 "}[m.Severity]
	if m.Ended {
		mark = "🟢 "
	}
	plainText := func(text string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, text, true, false)
	}
	list := []slack.Block{slack.NewHeaderBlock(plainText(clean(mark+m.Title, 150)))}
	for _, p := range m.parts() {
		list = append(list, slack.NewSectionBlock(plainText(p.label+": "+p.text), nil, nil))
	}
	var buttons []slack.BlockElement
	if asks {
		value := string(m.Question.Approval) + " " + strconv.Itoa(m.Question.Revision)
		yes := slack.NewButtonBlockElement(actionApprove, value, plainText("Approve"))
		yes.Style = slack.StylePrimary
		no := slack.NewButtonBlockElement(actionDeny, value, plainText("Deny"))
		no.Style = slack.StyleDanger
		buttons = append(buttons, yes, no)
	}
	if m.Link != "" {
		open := slack.NewButtonBlockElement("grace_open", "", plainText("Open in GRACE"))
		open.URL = m.Link
		buttons = append(buttons, open)
	}
	if len(buttons) > 0 {
		list = append(list, slack.NewActionBlock("grace", buttons...))
	}
	return list
}
