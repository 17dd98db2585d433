package sense

import (
	"errors"

	"grace"
	"grace/internal/series"
)

// Limit is an expression of PromQL that says what must not run out: a breach is
// predicted, and is no symptom by itself.
type Limit struct {
	Name         string          `json:"name" doc:"unique among the objectives and limits of a service"`
	Service      grace.ServiceID `json:"service" doc:"whose it is; without it, the label service_label of each element names the service"`
	ServiceLabel string          `json:"service_label" doc:"the label that names the service, where service does not (default service)"`
	Expr         string          `json:"expr" doc:"PromQL whose outermost operator is <, <=, > or >=; and and unless may narrow that down"`
	Source       string          `json:"source" doc:"name of a promql sensor: expr is about the series of its Prometheus, which is asked for it, and not about those that GRACE keeps"`
	Code         grace.Code      `json:"code" doc:"what a breach would be a symptom of"`
	Unit         string          `json:"unit" doc:"of what is compared, for people"`
	Impact       grace.Impact    `json:"impact" enum:"low,medium,high,critical" doc:"of a breach; by default judged by the service's criticality"`
}

// Validate names everything that is wrong with the limit.
func (l Limit) Validate() error {
	e, err := validate(l.Name, l.Expr, l.Source, l.Code, l.Service, l.ServiceLabel)
	if e != nil && e.Unpredictable() != "" {
		err = errors.Join(err, grace.Field("expr", "cannot be predicted: %s", e.Unpredictable()))
	}
	return err
}

// validate names what is wrong with an objective or a limit, and gives its expression; nil
// if that is none.
func validate(name, text, source string, code grace.Code, service grace.ServiceID, label string) (e *series.Expr, err error) {
	var errs []error
	for _, f := range []struct{ key, value string }{{"name", name}, {"expr", text}, {"code", string(code)}} {
		if f.value == "" {
			errs = append(errs, grace.Field(f.key, "is missing"))
		}
	}
	if text != "" {
		if e, err = series.CompileAt(text, source); err != nil {
			errs = append(errs, grace.Field("expr", "%v", err))
		}
	}
	if service != "" && label != "" {
		errs = append(errs, grace.Field("service_label", "%q: service says whose it is already", label))
	}
	return e, errors.Join(errs...)
}
