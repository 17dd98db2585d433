package grace

import "time"

// PredictionOutcome says what became of a prediction.
type PredictionOutcome string

// Prediction outcomes. Only true and false positives move a rule's precision.
const (
	PredictionOpen          PredictionOutcome = "open"
	PredictionTruePositive  PredictionOutcome = "true_positive"  // the breach began in the time that was said
	PredictionFalsePositive PredictionOutcome = "false_positive" // it did not
	PredictionPrevented     PredictionOutcome = "prevented"      // a run acted; by the forecast it would have begun
	PredictionUnresolved    PredictionOutcome = "unresolved"     // too few samples to tell, or a run acted and the forecast leaves it open
	PredictionFalseNegative PredictionOutcome = "false_negative" // a breach that no published prediction foresaw
)

// Prediction says that a series will breach a threshold. It is one entry of the
// ledger of predictions from the time a rule first says so until it is
// resolved; a false negative is an entry too, and has no Rule.
type Prediction struct {
	ID         string     `json:"id,omitempty" doc:"of the entry; a prediction that is said again keeps it"`
	Key        SignalKey  `json:"key"`
	Service    ServiceID  `json:"service"`
	Metric     string     `json:"metric"`
	Code       Code       `json:"code"`
	Title      string     `json:"title"`
	Likelihood float64    `json:"likelihood" minimum:"0" maximum:"1" doc:"that the breach begins before until: of those with 0.8, four in five do"`
	Value      float64    `json:"value" doc:"now"`
	Threshold  float64    `json:"threshold"`
	BreachAt   time.Time  `json:"breach_at"`
	Low        float64    `json:"low" doc:"lower edge of the 80 % interval at breach_at"`
	High       float64    `json:"high" doc:"upper edge of the 80 % interval at breach_at"`
	Impact     Impact     `json:"impact"`
	At         time.Time  `json:"at" doc:"when it was last said"`
	Made       time.Time  `json:"made,omitzero" doc:"when it was first said, in shadow or not"`
	Published  *time.Time `json:"published,omitempty" doc:"when it was first published: it may be acted on; absent in shadow"`
	Advised    *time.Time `json:"advised,omitempty" doc:"when it was first shown as advice: it is likely enough to be told, and not trusted to be acted on"`
	Ended      *time.Time `json:"ended,omitempty" doc:"since when it is said no more, because the trend has turned or there is no data; what became of it is seen at its time"`

	Series      string            `json:"series,omitempty" doc:"labels of the series, where a metric has several"`
	Role        Role              `json:"role,omitempty" enum:"latency,errors,saturation,traffic,capacity" doc:"what the series says of the service"`
	Rule        string            `json:"rule,omitempty" doc:"that said so"`
	Score       float64           `json:"score,omitempty" doc:"as the rule gave it, before calibration"`
	Until       time.Time         `json:"until,omitzero" doc:"the breach must begin before, or the prediction was false"`
	Learned     bool              `json:"learned,omitempty" doc:"the threshold was learned from the series, nobody set it"`
	Evidence    []string          `json:"evidence,omitempty" doc:"what it rests on"`
	Suggest     []PlaybookID      `json:"suggested_playbooks,omitempty"`
	Outcome     PredictionOutcome `json:"outcome,omitempty" enum:"open,true_positive,false_positive,prevented,unresolved,false_negative"`
	Breach      *time.Time        `json:"breach,omitempty" doc:"when the breach began"`
	Lead        Duration          `json:"lead,omitempty" doc:"from the prediction to the breach, of a true positive"`
	Resolved    *time.Time        `json:"resolved,omitempty"`
	Evaluated   []string          `json:"evaluated,omitempty" doc:"once a breach began: the rules that look at the series, whether they foresaw it or not"`
	Run         RunID             `json:"run,omitempty" doc:"that acted on it"`
	Likely      bool              `json:"likely,omitempty" doc:"it was likely enough to be published, at some time"`
	Rehearsed   bool              `json:"rehearsed,omitempty" doc:"of the past: what the rules would have said, before this process watched"`
	Block       bool              `json:"block,omitempty" doc:"what a forecast said of a block of six hours, held to what came: it teaches how right forecasts are, and nobody was told"`
	Foreseen    bool              `json:"foreseen_in_shadow,omitempty" doc:"of a false negative: a rule in shadow had foreseen it"`
	WouldBreach bool              `json:"would_breach,omitempty" doc:"by the forecast it breaches with at least 90 % if nothing is done"`
	Scored      bool              `json:"scored,omitempty" doc:"it was published, or would have been were its rule not back in shadow"`
}
