package simcamera

import (
	"encoding/xml"
	"net/http"
)

type linkedCamera struct {
	ID   int    `xml:"id"`
	Name string `xml:"name"`
	// Of the camera itself.
	Protocol string `xml:"sourceInputPortDescriptor>proxyProtocol"`
	Address  string `xml:"sourceInputPortDescriptor>ipAddress"`
	Port     int    `xml:"sourceInputPortDescriptor>managePortNo"`
}

// linkedCameras lists the cameras of a recorder; a camera has none.
func (s *httpServer) linkedCameras(w http.ResponseWriter, r *http.Request) {
	if !s.camera.cfg.Recorder {
		respond(w, r, statusInvalidOperation)
		return
	}
	var out struct {
		XMLName   xml.Name       `xml:"InputProxyChannelList"`
		Version   string         `xml:"version,attr"`
		Namespace string         `xml:"xmlns,attr"`
		Channels  []linkedCamera `xml:"InputProxyChannel"`
	}
	out.Version, out.Namespace = "2.0", isapiNamespace
	for _, ch := range s.camera.channels {
		out.Channels = append(out.Channels, linkedCamera{ID: ch.number, Name: "Linked " + cameraName(ch.number),
			Protocol: "HIKVISION", Address: "192.0.2.64", Port: 8000})
	}
	writeXML(w, http.StatusOK, out)
}

type track struct {
	ID      int `xml:"id"` // of the channel and the stream, like 101
	Channel int `xml:"Channel"`
}

// tracks lists what is recorded: the main stream of each channel.
func (s *httpServer) tracks(w http.ResponseWriter, _ *http.Request) {
	var out struct {
		XMLName   xml.Name `xml:"TrackList"`
		Version   string   `xml:"version,attr"`
		Namespace string   `xml:"xmlns,attr"`
		Tracks    []track  `xml:"Track"`
	}
	out.Version, out.Namespace = "1.0", isapiNamespace
	for _, ch := range s.camera.channels {
		out.Tracks = append(out.Tracks, track{ID: 100*ch.number + 1, Channel: ch.number})
	}
	writeXML(w, http.StatusOK, out)
}
