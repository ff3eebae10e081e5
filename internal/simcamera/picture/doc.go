// Package picture draws what the simulated camera sees: a still panorama, the things
// that move through it, and the text on top (clock, name, notes).
//
// Everything drawn is a function of the instant, the view and the text: a recording
// of a past time shows what live showed then. How pictures are coded and sent does
// not belong here.
package picture
