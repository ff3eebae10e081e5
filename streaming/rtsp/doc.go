// Package rtsp is the RTSP door, through which players see a camera.
//
// It has the RTSP server and its viewers, their access checks, and the cutting of viewers
// whose privilege has ended. Cameras and their streams are in package upstream, from
// which the door leases flows; package access decides who may do what, and each viewer
// holds one of its permits.
//
// Each watched stream has one reader of its flow, which serves all RTSP viewers of it:
// the library encodes a packet once, and has a bounded queue per viewer.
//
// Players are considered hostile: what is read from them is bounded in size and in time.
package rtsp
