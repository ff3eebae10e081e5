// Package webrtc is the door for browsers: it shows live streams of cameras by WebRTC.
//
// A viewer sends an offer (WHEP, over the REST API, which package api has) and gets an
// answer; then ICE, DTLS and SRTP run over one UDP port. Pictures and sound are passed on as
// the camera sends them: H.264, H.265, G.711 and Opus, nothing is transcoded. A stream that
// WebRTC cannot carry is refused with the reason.
//
// A viewer holds a permit for live view from its offer to its end, and ends with it, with
// the session of its login, and when it is no longer heard. As in package rtsp nothing is
// sent to it after AwaitCuts has returned.
//
// The agent is ICE-lite: it answers checks and sends none, so an offer cannot make it send
// anything to addresses of its choice. Candidates of offers are not even read.
//
// Packets go from a flow of package upstream through a stream, which marks where decoders
// can start and collects those of a picture, to the outbox of each viewer. Fans take them
// from there through pion, which encrypts them, into batches for the socket.
package webrtc
