// Package rtspclient speaks RTSP with cameras, as a client: it describes, sets up, plays,
// pauses and seeks their streams, and hands on the packets as they came.
//
// It is as tolerant as players are: a camera that breaks a rule which the stream does not
// need is played. What it reads is bounded in size, and every wait in time. It dials only
// through the function that it is given, sends credentials only to the host they are for,
// and its errors contain no address, no credentials and no text of the camera.
//
// It uses the types of gortsplib (messages, formats), not its client, which accepts a
// description whole or not at all and signs a request once. It does not know who watches
// or who may.
package rtspclient
