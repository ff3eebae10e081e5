package rtsp

// SelfSigned is selfSigned, for the tests from outside.
var SelfSigned = selfSigned
