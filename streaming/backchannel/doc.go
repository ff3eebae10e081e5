// Package backchannel carries sound to cameras: by the ONVIF back channel of their RTSP
// service, or by ISAPI where a camera has only that.
//
// A channel has one line, which is open while somebody talks. Sound is passed on as it
// comes and never recoded: a camera that takes no G.711 cannot be talked to. What comes late
// is dropped, so that the line is never far behind.
//
// It knows neither viewers nor privileges: the caller decides, before each piece is
// sent, whether it still may be.
package backchannel
