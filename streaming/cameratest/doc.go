// Package cameratest has cameras for tests: an RTSP server in the test's process that
// plays to any client, and scripted cameras, whose responses are up to the test. The
// simulated camera with pictures, ISAPI and faults is internal/simcamera.
package cameratest
