package simcamera

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"time"
)

// alertTimeout limits how long a client may take to read one alert.
const alertTimeout = 10 * time.Second

// notification is one part of the alert stream, as devices write it.
type notification struct {
	XMLName     xml.Name `xml:"EventNotificationAlert"`
	Version     string   `xml:"version,attr"`
	Namespace   string   `xml:"xmlns,attr"`
	IPAddress   string   `xml:"ipAddress"`
	Port        int      `xml:"portNo"`
	Protocol    string   `xml:"protocol"`
	MAC         string   `xml:"macAddress"`
	ChannelID   int      `xml:"channelID"`
	DateTime    string   `xml:"dateTime"`
	Count       int      `xml:"activePostCount"`
	Type        string   `xml:"eventType"`
	State       string   `xml:"eventState"`
	Description string   `xml:"eventDescription"`
}

// heartbeat is what a device sends when nothing happens: never an alarm.
const heartbeat = "videoloss"

func newNotification(a alarm) notification {
	state, description := "inactive", a.kind+" alarm"
	if a.active {
		state = "active"
	}
	if a.kind == Motion {
		description = "Motion alarm"
	}
	return notification{Version: "2.0", Namespace: isapiNamespace, IPAddress: "127.0.0.1", Port: 80, Protocol: "HTTP",
		MAC: simulatedMAC, ChannelID: a.channel, DateTime: a.at.Format("2006-01-02T15:04:05-07:00"), Count: a.count,
		Type: a.kind, State: state, Description: description}
}

// alertStream sends alarms until the client leaves.
func (s *httpServer) alertStream(w http.ResponseWriter, r *http.Request) {
	c := s.camera
	alarms := c.alarms.listen()
	if alarms == nil {
		respond(w, r, statusBusy)
		return
	}
	defer c.alarms.leave(alarms)
	w.Header().Set("Content-Type", "multipart/mixed; boundary=boundary")
	w.WriteHeader(http.StatusOK)

	beat := time.NewTicker(c.cfg.Heartbeat)
	defer beat.Stop()
	next := alarm{channel: 1, kind: heartbeat, at: c.cfg.Now()}
	for {
		if err := writePart(w, newNotification(next)); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.ctx.Done():
			return
		case <-beat.C:
			next = alarm{channel: 1, kind: heartbeat, at: c.cfg.Now()}
		case next = <-alarms:
		}
	}
}

func writePart(w http.ResponseWriter, n notification) error {
	text, err := xml.Marshal(n)
	if err != nil {
		return fmt.Errorf("writing an alert: %w", err)
	}
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(alertTimeout)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "--boundary\r\nContent-Type: application/xml; charset=\"UTF-8\"\r\nContent-Length: %d\r\n\r\n%s\r\n",
		len(text), text)
	if err != nil {
		return err
	}
	return control.Flush()
}
