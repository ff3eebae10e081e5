// Package fanout holds what a door is measured with: a camera, the cheapest relays that
// the machine allows (the floors), and viewers. Camera and floors run in processes of
// their own, see StartCamera; viewers run in the caller's. It needs Linux, knows nothing of
// Latchkey, and plays over loopback only.
package fanout
