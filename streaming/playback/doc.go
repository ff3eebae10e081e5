// Package playback plays recordings from the storage of recorders, each viewer over a
// connection of its own.
//
// A Session speaks with the recorder (package rtspclient), knows which time each packet
// shows, and passes on only what may be seen: anything else that the recorder sends, such
// as an earlier key frame or what follows the end, is dropped. The rule is asked again
// while it plays. A viewer that is slow slows the recorder down: nothing is lost, and
// little waits here.
//
// The package knows no viewers, keys or accounts, and no protocol that viewers speak: a
// door opens sessions and gives them a Viewer. What it says contains nothing of the
// recorder except formats, packets and times.
package playback
