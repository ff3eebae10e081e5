package simcamera

import (
	"crypto/sha1" //nolint:gosec // WS-UsernameToken is made with it
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxTokenAge is how far the time of a token may be from the camera's.
const maxTokenAge = 5 * time.Minute

// soapRequest is what the ONVIF side reads of a request.
type soapRequest struct {
	Username string `xml:"Header>Security>UsernameToken>Username"`
	Password string `xml:"Header>Security>UsernameToken>Password"`
	Nonce    string `xml:"Header>Security>UsernameToken>Nonce"`
	Created  string `xml:"Header>Security>UsernameToken>Created"`
	Body     struct {
		Operation struct {
			XMLName xml.Name
			ptzOrder
			Initial     string `xml:"InitialTerminationTime"`
			Termination string `xml:"TerminationTime"`
		} `xml:",any"`
	} `xml:"Body"`
}

// onvif answers the basics of ONVIF's device and media services.
func (s *httpServer) onvif(w http.ResponseWriter, r *http.Request) {
	text, err := body(w, r)
	var req soapRequest
	if err == nil {
		err = xml.Unmarshal(text, &req)
	}
	if err != nil {
		soapFault(w, http.StatusBadRequest, "s:Sender", "ter:WellFormed")
		return
	}
	operation := req.Body.Operation.XMLName.Local
	if operation != "GetSystemDateAndTime" && !s.mayCall(r, req) {
		soapFault(w, http.StatusBadRequest, "s:Sender", "ter:NotAuthorized")
		return
	}
	switch operation {
	case "GetSystemDateAndTime":
		now := s.camera.cfg.Now().UTC()
		soapAnswer(w, operation, fmt.Sprintf(`<tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType><tt:UTCDateTime><tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute><tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year><tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime>`,
			now.Hour(), now.Minute(), now.Second(), now.Year(), now.Month(), now.Day()))
	case "GetDeviceInformation":
		cfg := s.camera.cfg
		soapAnswer(w, operation, fmt.Sprintf(`<tds:Manufacturer>Latchkey</tds:Manufacturer><tds:Model>%s</tds:Model><tds:FirmwareVersion>%s</tds:FirmwareVersion><tds:SerialNumber>%s</tds:SerialNumber><tds:HardwareId>0</tds:HardwareId>`,
			html.EscapeString(cfg.Model), html.EscapeString(cfg.Firmware), html.EscapeString(cfg.Serial)))
	case "GetCapabilities":
		at := "http://" + r.Host + "/onvif/"
		moves := ""
		if !s.camera.cfg.Fixed {
			moves = "<tt:PTZ><tt:XAddr>" + at + "PTZ</tt:XAddr></tt:PTZ>"
		}
		soapAnswer(w, operation, "<tds:Capabilities><tt:Events><tt:XAddr>"+at+"Events</tt:XAddr></tt:Events><tt:Media><tt:XAddr>"+at+"Media</tt:XAddr></tt:Media>"+moves+"<tt:Extension><tt:Search><tt:XAddr>"+at+"Search</tt:XAddr></tt:Search><tt:Replay><tt:XAddr>"+at+"Replay</tt:XAddr></tt:Replay></tt:Extension></tds:Capabilities>")
	case "GetProfiles":
		soapAnswer(w, operation, s.profiles())
	case "FindRecordings":
		soapAnswer(w, operation, "<tse:SearchToken>search_1</tse:SearchToken>")
	case "GetRecordingSearchResults":
		soapAnswer(w, operation, s.onvifRecordings())
	case "GetReplayUri":
		soapAnswer(w, operation, s.replayURI(text))
	case "GetStreamUri":
		number, _ := strconv.Atoi(strings.TrimPrefix(req.Body.Operation.Profile, "profile_"))
		if s.camera.channel(number) == nil {
			soapFault(w, http.StatusBadRequest, "s:Sender", "ter:NoProfile")
			return
		}
		soapAnswer(w, operation, "<trt:MediaUri><tt:Uri>"+html.EscapeString(s.camera.URL(number, false))+"</tt:Uri></trt:MediaUri>")
	case "GetSnapshotUri":
		uri, ok := s.snapshotURI(r.Host, text)
		if !ok {
			soapFault(w, http.StatusBadRequest, "s:Sender", "ter:NoProfile")
			return
		}
		soapAnswer(w, operation, uri)
	default:
		if s.events(w, r, operation, req) {
			return
		}
		s.onvifPTZ(w, operation, req.Body.Operation.ptzOrder)
	}
}

func (s *httpServer) profiles() string {
	var b strings.Builder
	for _, ch := range s.camera.channels {
		moves := ""
		if !s.camera.cfg.Fixed {
			moves = fmt.Sprintf(`<tt:PTZConfiguration token="ptz_%d"/>`, ch.number)
		}
		fmt.Fprintf(&b, `<trt:Profiles token="profile_%[1]d"><tt:Name>%[2]s</tt:Name><tt:VideoSourceConfiguration token="config_%[1]d"><tt:SourceToken>source_%[1]d</tt:SourceToken></tt:VideoSourceConfiguration>%[3]s</trt:Profiles>`,
			ch.number, html.EscapeString(cameraName(ch.number)), moves)
	}
	return b.String()
}

// mayCall checks the token of WS-Security, by the camera's own clock.
func (s *httpServer) mayCall(r *http.Request, req soapRequest) bool {
	user, password := s.camera.credentials()
	if user == "" {
		return true
	}
	from := remote(r)
	if req.Username == "" || s.camera.lock.on(from) {
		return false
	}
	nonce, err := base64.StdEncoding.DecodeString(req.Nonce)
	created, timeErr := time.Parse(time.RFC3339, req.Created)
	sum := sha1.Sum([]byte(string(nonce) + req.Created + password)) //nolint:gosec // as above
	want := base64.StdEncoding.EncodeToString(sum[:])
	if err == nil && req.Username == user && subtle.ConstantTimeCompare([]byte(want), []byte(req.Password)) == 1 {
		return timeErr == nil && s.camera.cfg.Now().Sub(created).Abs() < maxTokenAge
	}
	s.camera.lock.refused(from)
	return false
}

const soapHead = xml.Header + `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tse="http://www.onvif.org/ver10/search/wsdl" xmlns:trp="http://www.onvif.org/ver10/replay/wsdl" xmlns:tptz="http://www.onvif.org/ver20/ptz/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error"><s:Body>`

func soapAnswer(w http.ResponseWriter, operation, content string) {
	prefix := "tds:"
	switch {
	case operation == "GetProfiles", operation == "GetSnapshotUri", operation == "GetStreamUri":
		prefix = "trt:"
	case operation == "FindRecordings", operation == "GetRecordingSearchResults":
		prefix = "tse:"
	case operation == "GetReplayUri":
		prefix = "trp:"
	case ptzOperations[operation]:
		prefix = "tptz:"
	}
	writeSOAP(w, http.StatusOK, "<"+prefix+operation+"Response>"+content+"</"+prefix+operation+"Response>")
}

func soapFault(w http.ResponseWriter, status int, code, subcode string) {
	writeSOAP(w, status, "<s:Fault><s:Code><s:Value>"+code+"</s:Value><s:Subcode><s:Value>"+subcode+"</s:Value></s:Subcode></s:Code></s:Fault>")
}

func writeSOAP(w http.ResponseWriter, status int, content string) {
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(soapHead + content + "</s:Body></s:Envelope>")) // the client may have gone
}
