// Package certificate provides the TLS certificates of the service: from files, from a
// certificate authority by ACME, or from an authority of its own for a local network.
//
// Each source has a Get for tls.Config.GetCertificate, which never waits for the network.
// Serving HTTPS belongs in api, and the choice of the source in cmd/latchkey.
package certificate
