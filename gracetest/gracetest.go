// Package gracetest holds what authors of extensions test with: conformance
// suites for the extension interfaces of package grace, and fakes of them.
//
// A suite is called from a test of the extension:
//
//	func TestConformance(t *testing.T) {
//		gracetest.Domain(t, func(*testing.T) grace.Domain { return printqueue.New() })
//	}
//
// [Action], [Sensor] and [Domain] check what the daemon relies on and what no
// signature can say: that an outcome is well formed and holds no secret, that a
// sensor stops when it is told to, that a playbook's defaults lie within their
// own bounds. They run against the real thing and take no shortcuts; run them
// with -race, for they use the extension from several goroutines.
//
// [Recorder], [FakeAction] and [Prober] stand in for the neighbours of a layer
// under test. All are safe for concurrent use.
package gracetest
