package simcamera

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	maxSubscriptions = 32
	maxKeptMessages  = 256
	subscriptionPath = "/onvif/Subscription"
	defaultLife      = time.Minute
	longestLife      = time.Hour
	longestPull      = time.Minute
)

// pullPoints are the subscriptions of ONVIF's event service. Its zero value is ready.
type pullPoints struct {
	mu   sync.Mutex
	next int
	of   map[string]*pullPoint // by what follows in their address
}

// pullPoint keeps messages until they are pulled. It ends when nobody renews it.
type pullPoint struct {
	alarms chan alarm
	ends   time.Time
	first  bool // the properties are told first
}

// subscribe makes a subscription, and returns what follows in its address; "" if there are
// too many.
func (p *pullPoints) subscribe(h *alarmHub, now time.Time, lasts time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string]*pullPoint{}
	}
	for id, of := range p.of {
		if !now.Before(of.ends) {
			h.leave(of.alarms)
			delete(p.of, id)
		}
	}
	if len(p.of) >= maxSubscriptions {
		return ""
	}
	alarms := h.listen()
	if alarms == nil {
		return ""
	}
	p.next++
	id := fmt.Sprint("Idx=", p.next)
	p.of[id] = &pullPoint{alarms: alarms, ends: now.Add(lasts), first: true}
	return id
}

// find returns a live subscription, nil if there is none, and lets it last for a time.
func (p *pullPoints) find(id string, now time.Time, lasts time.Duration) *pullPoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.of[id]
	if of == nil || !now.Before(of.ends) {
		return nil
	}
	if end := now.Add(lasts); end.After(of.ends) {
		of.ends = end
	}
	return of
}

func (p *pullPoints) end(h *alarmHub, id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.of[id]
	if of == nil {
		return false
	}
	h.leave(of.alarms)
	delete(p.of, id)
	return true
}

func (p *pullPoints) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.of)
}

// lifetime reads a duration such as PT60S.
func lifetime(text string) time.Duration {
	var seconds int
	if _, err := fmt.Sscanf(text, "PT%dS", &seconds); err != nil || seconds <= 0 {
		return defaultLife
	}
	return min(time.Duration(seconds)*time.Second, longestLife)
}

// events answers the operations of the event service; false: it is none of them.
func (s *httpServer) events(w http.ResponseWriter, r *http.Request, operation string, req soapRequest) bool {
	c, id := s.camera, r.URL.RawQuery
	now := c.cfg.Now()
	switch operation {
	case "CreatePullPointSubscription":
		lasts := lifetime(req.Body.Operation.Initial)
		id := c.pulls.subscribe(&c.alarms, now, lasts)
		if id == "" {
			soapFault(w, http.StatusBadRequest, "s:Receiver", "ter:MaxSubscriptions")
			return true
		}
		writeEvents(w, operation, fmt.Sprintf(`<tev:SubscriptionReference><wsa:Address>http://%s%s?%s</wsa:Address></tev:SubscriptionReference>%s`, r.Host, subscriptionPath, id, times(now, lasts)))
	case "PullMessages", "Renew":
		lasts := time.Duration(0)
		if operation == "Renew" {
			lasts = lifetime(req.Body.Operation.Termination)
		}
		of := c.pulls.find(id, now, lasts)
		if of == nil {
			soapFault(w, http.StatusBadRequest, "s:Receiver", "ter:ResourceUnknown")
			return true
		}
		content := times(now, time.Until(of.ends))
		if operation == "PullMessages" {
			content += s.pulled(r, of, min(lifetime(req.Body.Operation.Timeout), longestPull))
		}
		writeEvents(w, operation, content)
	case "Unsubscribe":
		if !c.pulls.end(&c.alarms, id) {
			soapFault(w, http.StatusBadRequest, "s:Receiver", "ter:ResourceUnknown")
			return true
		}
		writeEvents(w, operation, "")
	default:
		return false
	}
	return true
}

func times(now time.Time, lasts time.Duration) string {
	return fmt.Sprintf(`<tev:CurrentTime>%s</tev:CurrentTime><tev:TerminationTime>%s</tev:TerminationTime>`, now.UTC().Format(time.RFC3339), now.Add(lasts).UTC().Format(time.RFC3339))
}

// pulled waits for a message, and returns those that are there.
func (s *httpServer) pulled(r *http.Request, of *pullPoint, patience time.Duration) string {
	c, text := s.camera, ""
	if of.first {
		of.first = false
		for _, ch := range c.channels {
			text += propertyMessage(alarm{channel: ch.number, kind: Motion, active: c.alarms.active(ch.number), at: c.cfg.Now()}, "Initialized")
		}
		return text
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for n := 0; n < maxKeptMessages; {
		if n == 0 {
			select {
			case a := <-of.alarms:
				text, n = text+changeMessage(a), n+1
			case <-timeout.C:
				return text
			case <-r.Context().Done():
				return text
			case <-c.ctx.Done():
				return text
			}
			continue
		}
		select {
		case a := <-of.alarms:
			text, n = text+changeMessage(a), n+1
		default:
			return text
		}
	}
	return text
}

// changeMessage is the message of an alarm; its repetitions are none.
func changeMessage(a alarm) string {
	if a.active && a.count > 1 {
		return ""
	}
	return propertyMessage(a, "Changed")
}

func propertyMessage(a alarm, operation string) string {
	topic, name := "tns1:RuleEngine/CellMotionDetector/Motion", "IsMotion"
	if a.kind != Motion {
		topic, name = "tns1:RuleEngine/"+a.kind+"/Alarm", "State"
	}
	return fmt.Sprintf(`<wsnt:NotificationMessage><wsnt:Topic Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">%s</wsnt:Topic><wsnt:Message><tt:Message UtcTime="%s" PropertyOperation="%s"><tt:Source><tt:SimpleItem Name="VideoSourceConfigurationToken" Value="config_%d"/><tt:SimpleItem Name="Rule" Value="MyRule"/></tt:Source><tt:Data><tt:SimpleItem Name="%s" Value="%t"/></tt:Data></tt:Message></wsnt:Message></wsnt:NotificationMessage>`,
		topic, a.at.UTC().Format(time.RFC3339), operation, a.channel, name, a.active)
}

func writeEvents(w http.ResponseWriter, operation, content string) {
	prefix := "tev:"
	if operation == "Renew" || operation == "Unsubscribe" {
		prefix = "wsnt:"
	}
	const namespaces = ` xmlns:tev="http://www.onvif.org/ver10/events/wsdl" xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" xmlns:wsa="http://www.w3.org/2005/08/addressing"`
	writeSOAP(w, http.StatusOK, "<"+prefix+operation+"Response"+namespaces+">"+content+"</"+prefix+operation+"Response>")
}

// Subscriptions returns how many ONVIF subscriptions there are.
func (c *Camera) Subscriptions() int { return c.pulls.count() }
