package main

import (
	"grace/internal/api"
	"grace/internal/stage/learn"
	"grace/internal/store"
)

// The views of the API that are not nouns of package grace.
type (
	serviceView    = api.ServiceView
	serviceDetail  = api.ServiceDetail
	healthView     = api.HealthView
	sensorView     = api.SensorView
	alertsView     = api.AlertsView
	modeView       = api.ModeView
	dryRun         = api.DryRun
	whyView        = api.Explanation
	learningView   = api.Learning
	kpiView        = learn.KPIs
	domainView     = api.DomainView
	predictionView = api.PredictionSummary
	auditReport    = store.AuditReport
	abortedView    = api.Aborted
	tokenView      = api.Token
)
