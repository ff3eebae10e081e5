// Package alert reads what cameras say of alarms: the EventNotificationAlert of ISAPI, as
// XML or JSON, alone or in parts of a stream. What cameras send is hostile: everything is
// bounded, and nothing of a camera's own text is handed on but its name for an event,
// which is for telling events apart and is never shown.
//
// What an alarm leads to does not belong here.
package alert

import (
	"strings"
	"time"
)

// Kind is what an alarm is about, in words that do not depend on the camera. Its values
// are part of the API.
type Kind string

// The kinds.
const (
	Motion        Kind = "motion"
	LineCrossing  Kind = "line_crossing"
	Intrusion     Kind = "intrusion"
	RegionEntered Kind = "region_entered"
	RegionLeft    Kind = "region_left"
	Tampering     Kind = "tampering" // the camera is covered or was moved
	VideoLoss     Kind = "video_loss"
	Input         Kind = "input" // something that is wired to the device
	Sound         Kind = "sound"
	Face          Kind = "face"
	Vehicle       Kind = "vehicle"
	Person        Kind = "person"
	Object        Kind = "object" // was left behind or taken away
	Fire          Kind = "fire"
	Storage       Kind = "storage"
	Network       Kind = "network"
	IllegalAccess Kind = "illegal_access"
	Other         Kind = "other"
)

// Kinds lists the kinds.
var Kinds = []Kind{
	Motion, LineCrossing, Intrusion, RegionEntered, RegionLeft, Tampering, VideoLoss, Input, Sound, Face, Vehicle, Person, Object, Fire,
	Storage, Network, IllegalAccess, Other,
}

// byType are the kinds of ISAPI's event types, in lower case.
var byType = map[string]Kind{
	"vmd": Motion, "motion": Motion, "motiondetection": Motion, "pir": Motion,
	"linedetection": LineCrossing, "fielddetection": Intrusion, "regionentrance": RegionEntered, "regionexiting": RegionLeft,
	"shelteralarm": Tampering, "tamperdetection": Tampering, "scenechangedetection": Tampering, "defocus": Tampering, "defocusdetection": Tampering,
	"videoloss": VideoLoss, "videomismatch": VideoLoss,
	"io": Input, "alarmin": Input, "localalarm": Input,
	"audioexception": Sound, "audiodetection": Sound,
	"facedetection": Face, "facesnap": Face, "facecapture": Face,
	"anpr": Vehicle, "vehicledetection": Vehicle, "parking": Vehicle,
	"group": Person, "rapidmove": Person, "loitering": Person, "peopledetection": Person, "humanrecognition": Person, "fallingdetection": Person,
	"unattendedbaggage": Object, "attendedbaggage": Object,
	"firedetection": Fire, "smokedetection": Fire, "smokeandfiredetection": Fire,
	"diskfull": Storage, "diskerror": Storage, "hdfull": Storage, "hderror": Storage, "diskunformat": Storage, "recordexception": Storage,
	"nicbroken": Network, "ipconflict": Network,
	"illaccess": IllegalAccess, "illegalaccess": IllegalAccess,
}

// KindOf returns the kind of an event type of ISAPI.
func KindOf(eventType string) Kind {
	if kind, ok := byType[strings.ToLower(eventType)]; ok {
		return kind
	}
	return Other
}

// Alert is what a camera says of one event: that it is active, or no longer. It is said
// again and again while the event lasts.
type Alert struct {
	// Channel is the camera's number of the channel; 0 if it named none, or means all.
	Channel int
	Kind    Kind
	// Type is the camera's own name of the event, by which events are told apart. It must
	// not be shown.
	Type   string
	Active bool
	// Lasting: the event is active until the camera says otherwise. Others end when they
	// are not repeated.
	Lasting bool
	// Initial: it was so before; the camera says it to somebody who has come.
	Initial bool
	// At is the camera's own time; zero if it said none. Unzoned: it was without a time
	// zone, and was read as UTC.
	At      time.Time
	Unzoned bool
}

// heartbeat reports whether it only says that the camera is there.
func heartbeat(eventType string, active bool) bool {
	switch strings.ToLower(eventType) {
	case "heartbeat":
		return true
	case "videoloss":
		return !active
	}
	return false
}

// layouts are the ways in which cameras write times; those with a zone come first.
var layouts = []struct {
	text  string
	zoned bool
}{
	{time.RFC3339Nano, true},
	{"2006-01-02T15:04:05Z0700", true},
	{"2006-01-02 15:04:05Z07:00", true},
	{"2006-01-02T15:04:05", false},
	{"2006-01-02 15:04:05", false},
}

// TimeOf reads a camera's time. A time without a zone is read as UTC; ok is false for what
// is no time.
func TimeOf(text string) (at time.Time, zoned, ok bool) {
	text = strings.TrimSpace(text)
	if len(text) > 40 {
		return time.Time{}, false, false
	}
	// Some write +8:00.
	if n := len(text); n > 5 && text[n-3] == ':' && (text[n-5] == '+' || text[n-5] == '-') {
		text = text[:n-4] + "0" + text[n-4:]
	}
	for _, l := range layouts {
		if at, err := time.Parse(l.text, text); err == nil && at.Year() > 0 {
			return at.UTC(), l.zoned, true
		}
	}
	return time.Time{}, false, false
}
