// Package daemon joins all parts of GRACE into one process that is started,
// reloaded and stopped, and that a test can embed whole.
//
//	d, err := daemon.New(cfg, daemon.WithDomain(mine))
//	err = d.Run(ctx) // until ctx is done
//
// Order. Start opens the store, who tells people, then the engine (which recovers the runs of
// before), the loop, the API and, last, the sensors. Stop goes the other way:
// nothing new comes in, the steps under way end (10 s at most), then the store
// is closed. A run that Stop interrupts goes on after the next start. Start,
// Stop and Reload take turns; a daemon starts only once.
//
// Reload reads the configuration file again, builds everything from it and
// swaps: a bad file changes nothing. Sensors of which it says nothing new go on.
// The listening address, the data folder, the database, the log, and the settings
// of the API and of /metrics need a restart; Reload says so when they changed.
//
// A second daemon on the same SQLite data folder is refused.
package daemon
