package api

import (
	"time"

	"grace"
)

// SensorState says whether GRACE sees what a sensor is about.
type SensorState string

// Sensor states.
const (
	SensorOK      SensorState = "ok"
	SensorWaiting SensorState = "no_sample_yet"
	SensorError   SensorState = "error" // it could not look; LastError says why
	SensorStale   SensorState = "stale" // no sample for too long
)

// SensorView is one source of samples.
type SensorView struct {
	Name       string          `json:"name"`
	Type       string          `json:"type" example:"http"`
	Service    grace.ServiceID `json:"service,omitempty" doc:"absent when it is about several"`
	State      SensorState     `json:"state" enum:"ok,no_sample_yet,error,stale"`
	Since      time.Time       `json:"since" doc:"when it was started"`
	LastSample time.Time       `json:"last_sample,omitzero"`
	LastError  string          `json:"last_error,omitempty" doc:"why it could not look when it last could not"`
	ErrorAt    time.Time       `json:"error_at,omitzero"`
	Errors     uint64          `json:"errors" doc:"how often it could not look"`
	Panics     uint64          `json:"panics" doc:"how often it broke down and was started again"`
	Blind      bool            `json:"blind" doc:"it has been without a sample for too long to be just starting"`
}
