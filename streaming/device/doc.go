// Package device speaks the protocols of cameras: it finds out whether a device is
// where its owner says, lets us in, and what it is (RTSP DESCRIBE, ISAPI, ONVIF).
//
// Devices lock whoever gives a wrong password a few times, so credentials are sent
// once for each service of a proof, and after a refusal to nobody any more; a count
// for each address keeps whoever tries again from locking it (see guard).
//
// Devices are taken for hostile: what they say is bounded in bytes, depth and time,
// they are dialled only where the policy allows it (asked with the address that a name
// was resolved to), redirects are not followed, and nothing of credentials or
// addresses is in a Failure.
package device
