package rtspclient

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// SenderReport is what a camera says of its clock: the two times are the same instant.
type SenderReport struct {
	SSRC uint32
	NTP  uint64 // seconds since 1900 and fractions of 2^-32 s (RFC 3550, 6.4.1)
	RTP  uint32
}

const (
	senderReport   = 200
	receiverReport = 201
	goodbye        = 203
	maxInCompound  = 32
)

// senderReports reads the sender reports of a compound RTCP packet.
func senderReports(data []byte) []SenderReport {
	var list []SenderReport
	for range maxInCompound {
		if !isRTCP(data) {
			break
		}
		size := 4 + 4*int(be16(data[2:]))
		if size > len(data) {
			size = len(data) // some cameras count wrong
		}
		if data[1] == senderReport && size >= 20 {
			list = append(list, SenderReport{SSRC: be32(data[4:]), NTP: be64(data[8:]), RTP: be32(data[16:])})
		}
		data = data[size:]
	}
	return list
}

// handReports passes the sender reports of an RTCP packet on, and a BYE.
func (c *Client) handReports(t *Track, data []byte, now time.Time) {
	for _, r := range senderReports(data) {
		t.receipt.report(r, now)
		c.opts.Report(t, r)
	}
	if saysBye(data) {
		c.opts.Bye(t)
	}
}

// saysBye reports whether a compound RTCP packet contains a BYE (RFC 3550, 6.6).
func saysBye(data []byte) bool {
	for range maxInCompound {
		if len(data) < 4 || data[0]>>6 != 2 {
			return false
		}
		if data[1] == goodbye {
			return true
		}
		data = data[min(4+4*int(be16(data[2:])), len(data)):]
	}
	return false
}

// receipt is what a receiver reports of a track (RFC 3550, 6.4.2).
type receipt struct {
	mu       sync.Mutex
	any      bool
	ssrc     uint32
	first    uint32 // extended sequence numbers
	highest  uint32
	received uint32

	lastExpected, lastReceived uint32 // of the last report

	transit float64 // of the last packet, in ticks
	jitter  float64

	ntp      uint32 // the middle of the last sender report's
	reported time.Time
}

func (r *receipt) isFrom(ssrc uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.any && r.ssrc == ssrc
}

// packet counts a packet.
func (r *receipt) packet(data []byte, rate int, now time.Time) {
	seq, ts, ssrc := be16(data[2:]), be32(data[4:]), be32(data[8:])
	r.mu.Lock()
	defer r.mu.Unlock()
	transit := float64(now.UnixMicro())/1e6*float64(rate) - float64(ts)
	if !r.any || r.ssrc != ssrc {
		ntp, reported := r.ntp, r.reported
		r.restart(ssrc, seq, transit)
		r.ntp, r.reported = ntp, reported
	}
	switch ahead := int16(seq - uint16(r.highest)); {
	case ahead > 3000 || ahead < -3000: // it restarts its count
		r.restart(ssrc, seq, transit)
	case ahead > 0:
		r.highest += uint32(ahead)
	}
	r.received++
	if d := transit - r.transit; d > -1e6 && d < 1e6 { // otherwise the timestamp has jumped
		r.jitter += (max(d, -d) - r.jitter) / 16
	}
	r.transit = transit
}

func (r *receipt) restart(ssrc uint32, seq uint16, transit float64) {
	r.any, r.ssrc, r.first, r.highest = true, ssrc, uint32(seq), uint32(seq)
	r.received, r.lastExpected, r.lastReceived, r.transit, r.jitter = 0, 0, 0, transit, 0
}

func (r *receipt) report(s SenderReport, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ntp, r.reported = uint32(s.NTP>>16), now
}

// block returns a receiver report, nil if nothing has come yet.
func (r *receipt) block(own uint32, now time.Time) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.any {
		return nil
	}
	expected := r.highest - r.first + 1
	lost := max(int64(expected)-int64(r.received), 0)
	recent, got := expected-r.lastExpected, r.received-r.lastReceived
	var fraction uint8
	if recent > got && recent > 0 {
		fraction = uint8(min(uint64(recent-got)<<8/uint64(recent), 255))
	}
	r.lastExpected, r.lastReceived = expected, r.received
	b := make([]byte, 0, 32)
	b = append(b, 0x81, receiverReport, 0, 7)
	b = binary.BigEndian.AppendUint32(b, own)
	b = binary.BigEndian.AppendUint32(b, r.ssrc)
	b = binary.BigEndian.AppendUint32(b, uint32(fraction)<<24|uint32(min(lost, 0x7fffff)))
	b = binary.BigEndian.AppendUint32(b, r.highest)
	b = binary.BigEndian.AppendUint32(b, uint32(min(r.jitter, 1<<31)))
	var since uint32
	if !r.reported.IsZero() {
		since = uint32(min(now.Sub(r.reported), time.Hour) * 65536 / time.Second)
	}
	b = binary.BigEndian.AppendUint32(b, r.ntp)
	return binary.BigEndian.AppendUint32(b, since)
}

// reportEvery is the interval of receiver reports. Some cameras end a stream without them.
const reportEvery = 5 * time.Second

// reportReceipt sends receiver reports until the client ends.
func (c *Client) reportReceipt() {
	var id [4]byte
	_, _ = rand.Read(id[:])
	own := be32(id[:])
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.ended:
			return
		}
		c.reportAll(own)
	}
}

// reportAll sends the reports of all tracks, unless the stream is paused: servers that read
// only messages then end the connection for anything else.
func (c *Client) reportAll(own uint32) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	if c.paused {
		return
	}
	for _, t := range c.setUp() {
		if report := t.receipt.block(own, time.Now()); report != nil {
			c.sendRTCP(t, report)
		}
	}
}

// pause sets whether no reports are sent. None is on its way when it returns.
func (c *Client) pause(on bool) {
	c.reporting.Lock()
	defer c.reporting.Unlock()
	c.paused = on
}

func (c *Client) sendRTCP(t *Track, data []byte) { _ = c.sendOn(t, 1, data) }

// SendRTP sends an RTP packet on a track that was set up, such as a back channel. The
// sequence and the clock are the caller's.
func (c *Client) SendRTP(t *Track, data []byte) error {
	return c.sendOn(t, 0, data)
}

// sendOn sends a packet of RTP (0) or RTCP (1), over UDP or between the messages.
func (c *Client) sendOn(t *Track, i int, data []byte) error {
	if len(data) > 0xffff {
		return ErrTooLarge
	}
	c.mu.Lock()
	l, udp, channel := c.link, t.udp, t.channels[i]
	c.mu.Unlock()
	if udp != nil {
		return udp.send(i, data)
	}
	frame := append([]byte{'$', byte(channel), byte(len(data) >> 8), byte(len(data))}, data...)
	return l.write(frame, c.opts.WriteTimeout)
}
