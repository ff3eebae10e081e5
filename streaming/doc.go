// Package streaming is the RTSP door: the one way by which anybody sees a
// camera.
//
// It holds the RTSP server and its viewers, the check of each of them, the
// pulling of cameras and the fan-out, and the cutting of viewers whose
// privilege has ended. Clients of camera protocols will be in streaming/device; who
// may do what is decided behind the Authorizer, which this package declares
// and does not implement.
//
// Cameras and players are both taken for hostile: what is read from either is
// bounded in size and in time, and nothing of a camera (its address, its
// credentials, its words) is handed on to a viewer, except formats and packets.
package streaming
