// Package simcamera is a simulated network camera and recorder: live pictures,
// playback, two-way audio, pan-tilt-zoom and alarms, spoken the way Hikvision devices
// speak them (RTSP, ISAPI over HTTP, and the basics of ONVIF), with the faults that real ones have.
//
// It serves `latchkey camera`, the demo and tests. It stands in for a device, so
// Latchkey's own rules (accounts, keys, privileges) do not belong here. Drawing pictures
// is in package picture, encoding them in h264.
package simcamera
