// Package device speaks the protocols of cameras: it finds out whether a device is at the
// address given by its owner, accepts the credentials, and what it is (RTSP DESCRIBE,
// ISAPI, ONVIF); moves its channels, and carries sound to them.
//
// Devices lock out clients that send a wrong password a few times, so credentials are
// sent once per service of a proof, and not at all after a refusal; a count per address
// keeps repeated attempts from locking the device (see guard).
//
// Devices are considered hostile: what they send is bounded in bytes, depth and time,
// they are dialed only where the policy allows it (checked with the resolved address),
// redirects of HTTP are not followed, and a Failure contains no credentials or addresses.
package device
