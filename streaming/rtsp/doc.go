// Package rtsp is the RTSP door: the way by which players see a camera.
//
// It holds the RTSP server and its viewers, the check of each of them, and the
// cutting of viewers whose privilege has ended. Cameras, and what there is to see of
// them, are in package upstream, of which the door leases streams; who may do what is
// decided by package access, from which each viewer holds a permit.
//
// Each stream that somebody watches is one reader of its flow, which serves all RTSP
// viewers of it: the library encodes a packet once, and has a bounded queue for each
// viewer.
//
// Players are taken for hostile: what is read from them is bounded in size and in
// time.
package rtsp
