package device

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"latchkey/domain/privilege"
	"latchkey/internal/alert"
)

const (
	eventsNS       = "http://www.onvif.org/ver10/events/wsdl"
	notificationNS = "http://docs.oasis-open.org/wsn/b-2"
	addressingNS   = "http://www.w3.org/2005/08/addressing"

	// A subscription lasts so long unless it is renewed, which happens so often. A device
	// holds the answer to a pull for so long if it has nothing to tell.
	subscribed = 2 * time.Minute
	renewEvery = time.Minute
	pullFor    = 20 * time.Second
	pullMost   = 32 // messages in one answer
	// unsubscribeWithin limits the farewell.
	unsubscribeWithin = 2 * time.Second
	maxReference      = 1024 // bytes of an address of the device
	maxReferences     = 8
)

// subscription is where a device keeps its messages for us.
type subscription struct {
	*onvif
	path     string
	asked    string // the query of its address
	channels map[string]int
}

// pullPoint asks for messages by ONVIF, over and over.
func (p *proof) pullPoint(ctx context.Context, address string, told Told) error {
	s, err := p.lasting(ctx, ONVIF, address)
	if err != nil {
		return err
	}
	defer s.close()
	sub, err := p.subscribe(ctx, &onvif{httpSession: s})
	if err != nil {
		return err
	}
	defer sub.end(ctx)
	pace := rate.NewLimiter(1, 10) // a device may answer at once, whatever it was asked
	for renewed := time.Now(); ; {
		if time.Since(renewed) > renewEvery {
			if err := sub.renew(ctx); err != nil {
				return err
			}
			renewed = time.Now()
		}
		list, err := sub.pull(ctx)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			told(list, nil)
		}
		if err := pace.Wait(ctx); err != nil {
			return fail(Timeout, ONVIF)
		}
	}
}

// subscribe finds the device's events, and its channels, and subscribes.
func (p *proof) subscribe(ctx context.Context, o *onvif) (*subscription, error) {
	path := o.onvifPath()
	if err := o.clock(ctx, path); err != nil {
		return nil, err
	}
	answer, err := o.inPart(ctx, path, deviceNS, "GetCapabilities", "<Category>All</Category>")
	if err != nil {
		return nil, unsupported(err)
	}
	caps := answer.find("Capabilities")
	events := pathOf(caps, "Events", "")
	if events == "" {
		return nil, fail(Unsupported, ONVIF)
	}
	sub := &subscription{onvif: o, channels: map[string]int{}}
	if answer, err = o.inPart(ctx, pathOf(caps, "Media", path), mediaNS, "GetProfiles", ""); err == nil {
		sub.channels = channelTokens(answer)
	}
	seconds := strconv.Itoa(int(subscribed.Seconds()))
	o.header = addressed(eventsNS+"/EventPortType/CreatePullPointSubscriptionRequest", "")
	answer, err = o.inPart(ctx, events, eventsNS, "CreatePullPointSubscription", "<InitialTerminationTime>PT"+seconds+"S</InitialTerminationTime>")
	if err != nil {
		return nil, unsupported(err)
	}
	return sub, sub.locate(answer.find("SubscriptionReference"))
}

// unsupported says of a device that refuses what every one with events has that it has
// none.
func unsupported(err error) error {
	var failure *Failure
	if errors.As(err, &failure) && failure.Kind == Refused {
		return fail(Unsupported, ONVIF)
	}
	return err
}

// inPart is ask in a part of its own.
func (o *onvif) inPart(ctx context.Context, path, namespace, operation, arguments string) (*element, error) {
	ctx, cancel := context.WithTimeout(ctx, o.proof.client.cfg.Within)
	defer cancel()
	o.part(o.proof.client.cfg.Within)
	return o.ask(ctx, path, namespace, operation, arguments)
}

// locate reads where the subscription is: on the host that we were given, whatever the
// device reports. What it wants to be told again is kept for the headers.
func (s *subscription) locate(reference *element) error {
	at := reference.find("Address")
	if at == nil || len(at.text) > maxReference {
		return fail(Unsupported, ONVIF)
	}
	address := strings.TrimSpace(at.text)
	u, err := url.Parse(address)
	if err != nil || u.Path == "" {
		return fail(Unsupported, ONVIF)
	}
	s.path, s.asked = u.Path, u.RawQuery
	s.header = ""
	if parameters := reference.find("ReferenceParameters"); parameters != nil {
		for _, e := range parameters.children[:min(len(parameters.children), maxReferences)] {
			if len(e.text) <= maxReference && len(e.children) == 0 {
				s.header += `<r:` + e.name + ` xmlns:r="` + escaped(e.space) + `" xmlns:a="` + addressingNS + `" a:IsReferenceParameter="true">` + escaped(e.text) + `</r:` + e.name + `>`
			}
		}
	}
	s.header += `<a:To xmlns:a="` + addressingNS + `">` + escaped(address) + `</a:To>`
	return nil
}

// addressed is the header of WS-Addressing, with what a subscription wants to be told.
func addressed(action, reference string) string {
	return `<a:Action xmlns:a="` + addressingNS + `">` + action + `</a:Action>` + reference
}

// to sends an operation to the subscription.
func (s *subscription) to(ctx context.Context, within time.Duration, namespace, action, operation, arguments string) (*element, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	s.part(within)
	reference := s.header
	s.header, s.query = addressed(action, reference), s.asked
	defer func() { s.header, s.query = reference, "" }()
	return s.ask(ctx, s.path, namespace, operation, arguments)
}

func (s *subscription) pull(ctx context.Context) ([]alert.Alert, error) {
	arguments := "<Timeout>PT" + strconv.Itoa(int(pullFor.Seconds())) + "S</Timeout><MessageLimit>" + strconv.Itoa(pullMost) + "</MessageLimit>"
	answer, err := s.to(ctx, pullFor+s.proof.client.cfg.Within, eventsNS, eventsNS+"/PullPointSubscription/PullMessagesRequest", "PullMessages", arguments)
	if err != nil {
		return nil, err
	}
	return messages(answer, s.channels), nil
}

// renew lets the subscription last. A device that knows no such operation prolongs it with
// each pull, or refuses the next one.
func (s *subscription) renew(ctx context.Context) error {
	seconds := strconv.Itoa(int(subscribed.Seconds()))
	_, err := s.to(ctx, s.proof.client.cfg.Within, notificationNS, "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/RenewRequest", "Renew", "<TerminationTime>PT"+seconds+"S</TerminationTime>")
	var failure *Failure
	if errors.As(err, &failure) && (failure.Kind == Refused || failure.Kind == Unsupported) {
		return nil
	}
	return err
}

func (s *subscription) end(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	_, _ = s.to(ctx, unsubscribeWithin, notificationNS, "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/UnsubscribeRequest", "Unsubscribe", "") // it lapses by itself
}

// channelTokens returns the channels by the tokens of the video sources and their
// configurations. Channels are the video sources, in the order of the profiles.
func channelTokens(answer *element) map[string]int {
	channels, sources := map[string]int{}, 0
	for _, profile := range answer.all("Profiles") {
		config := profile.find("VideoSourceConfiguration")
		source := config.words("SourceToken")
		if source == "" || sources == privilege.MaxChannel {
			continue
		}
		if channels["source "+source] == 0 {
			sources++
			channels["source "+source] = sources
		}
		if token := printable(config.attrs["token"]); token != "" {
			channels["config "+token] = channels["source "+source]
		}
	}
	return channels
}

// messages reads the notifications in an answer.
func messages(answer *element, channels map[string]int) []alert.Alert {
	var list []alert.Alert
	for _, n := range answer.all("NotificationMessage") {
		if a, ok := notified(n, channels); ok {
			if list = append(list, a); len(list) == 4*pullMost {
				break
			}
		}
	}
	return list
}

// notified reads a notification; false: it is not about an alarm.
func notified(n *element, channels map[string]int) (a alert.Alert, ok bool) {
	topic := topicOf(n.words("Topic"))
	message := n.find("Message", "Message")
	if a.Kind = kindOfTopic(topic); a.Kind == "" || message == nil {
		return alert.Alert{}, false
	}
	a.Type = topic
	for _, item := range message.find("Source").all("SimpleItem") {
		name, value := strings.ToLower(item.attrs["Name"]), printable(item.attrs["Value"])
		switch {
		case name == "rule":
			a.Type += " " + value
		case strings.Contains(name, "video") && strings.Contains(name, "configuration"), name == "source":
			a.Channel = max(a.Channel, channels["config "+value], channels["source "+value])
		case strings.Contains(name, "videosource"):
			a.Channel = max(a.Channel, channels["source "+value])
		}
	}
	if len(a.Type) > 128 {
		a.Type = a.Type[:128]
	}
	active, said := truth(message.find("Data"))
	operation := strings.ToLower(message.attrs["PropertyOperation"])
	a.Initial = operation == "initialized"
	switch {
	case operation == "deleted":
		a.Lasting = true
	case said:
		a.Active, a.Lasting = active, true
	default:
		a.Active = !a.Initial
	}
	a.At, _, _ = alert.TimeOf(message.attrs["UtcTime"]) // it is UTC, whatever it says
	return a, true
}

// truth returns the first item that is true or false.
func truth(data *element) (is, said bool) {
	for _, item := range data.all("SimpleItem") {
		switch strings.ToLower(item.attrs["Value"]) {
		case "true", "1":
			return true, true
		case "false", "0":
			return false, true
		}
	}
	return false, false
}

// topicOf returns a topic without the prefixes of its namespaces, in lower case.
func topicOf(text string) string {
	steps := strings.Split(strings.ToLower(text), "/")
	for i, step := range steps {
		if _, name, ok := strings.Cut(step, ":"); ok {
			steps[i] = name
		}
	}
	return strings.Join(steps, "/")
}

// topics are the words by which the topics of alarms are known. The first one that is
// found counts; what begins otherwise than these topics do is no alarm.
var topics = []struct {
	word string
	kind alert.Kind
}{
	{"motion", alert.Motion},
	{"linedetector", alert.LineCrossing}, {"crossed", alert.LineCrossing},
	{"fielddetector", alert.Intrusion}, {"objectsinside", alert.Intrusion}, {"intrusion", alert.Intrusion},
	{"tamper", alert.Tampering}, {"globalscenechange", alert.Tampering}, {"imagetoo", alert.Tampering},
	{"signalloss", alert.VideoLoss}, {"videoloss", alert.VideoLoss},
	{"digitalinput", alert.Input},
	{"audio", alert.Sound}, {"sound", alert.Sound},
	{"face", alert.Face},
	{"vehicle", alert.Vehicle}, {"licenseplate", alert.Vehicle},
	{"human", alert.Person}, {"people", alert.Person}, {"person", alert.Person},
	{"fire", alert.Fire}, {"smoke", alert.Fire},
	{"storage", alert.Storage},
}

// kindOfTopic returns the kind of an alarm, "" for what is none.
func kindOfTopic(topic string) alert.Kind {
	root, rest, _ := strings.Cut(topic, "/")
	switch root {
	case "ruleengine", "videosource", "videoanalytics", "audioanalytics", "audiosource", "useralarm":
	case "device":
		if !strings.HasPrefix(rest, "trigger/digitalinput") && !strings.HasPrefix(rest, "hardwarefailure") {
			return ""
		}
	default:
		return ""
	}
	for _, t := range topics {
		if strings.Contains(topic, t.word) {
			return t.kind
		}
	}
	return alert.Other
}
