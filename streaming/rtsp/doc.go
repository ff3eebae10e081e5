// Package rtsp is the RTSP door, through which players see a camera, and cameras that cannot
// be reached publish.
//
// It has the RTSP server and its viewers, their access checks, and the cutting of viewers
// whose privilege has ended. Cameras and their streams are in package upstream, from
// which the door leases flows; package access decides who may do what, and each viewer
// holds one of its permits.
//
// Each watched stream has one reader of its flow, which serves all RTSP viewers of it: it
// collects the packets of a picture in a burst, and writes that once to each viewer. The
// library has the requests, the descriptions and the sessions; packets do not pass
// through it.
//
// Players are considered hostile: what is read from them is bounded in size and in time.
package rtsp
