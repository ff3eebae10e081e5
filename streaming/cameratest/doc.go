// Package cameratest has cameras for tests: an RTSP server in the test's process that
// plays to whoever asks, and cameras by hand, which answer what a test wants them to.
// The simulated camera with pictures, ISAPI and faults is internal/simcamera.
package cameratest
