// Package portaltest tests the portal as people use it: in a real browser, on the real
// binary, with simulated cameras. What needs no browser is tested in package api.
package portaltest
