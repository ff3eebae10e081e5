package device

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"latchkey/domain/privilege"
	"latchkey/streaming/rtspclient"
	"latchkey/streaming/upstream"
)

// maxMedias limits the media that are reported of a stream.
const maxMedias = 16

// rtspSession is a conversation with one RTSP server.
type rtspSession struct {
	proof  *proof
	client *rtspclient.Client // nil: there is no connection yet
}

// parseStream returns an address of a stream without credentials, and where its server is.
func parseStream(address string) (stream, server string, err error) {
	stream, secure, err := rtspclient.Plain(address)
	if err != nil {
		return "", "", err
	}
	server = rtspclient.HostPort(address)
	if secure {
		server = "rtsps " + server
	}
	return stream, server, nil
}

// probe requests one stream, and records what it reports about the channel. The first
// response proves that the stream exists; whether it has a back channel is requested
// afterwards, as some devices refuse unknown requirements.
func (s *rtspSession) probe(ctx context.Context, address string, channel *Channel) error {
	d, err := s.describe(ctx, address, nil)
	if err == nil {
		channel.Medias, err = mediasOf(d)
	}
	if err != nil {
		return rtspFailure(err)
	}
	channel.learn(privilege.LiveView, true)
	d, err = s.describe(ctx, address, base.Header{"Require": {rtspclient.BackChannel}})
	if err != nil {
		channel.asked = rtspFailure(err).Kind == Unsupported // it responds that it has none
		return nil
	}
	if medias, err := mediasOf(d); err == nil {
		channel.Medias, channel.asked = medias, true
	}
	return nil
}

// describe returns the description of a stream.
func (s *rtspSession) describe(ctx context.Context, address string, header base.Header) (*rtspclient.Description, error) {
	if s.client == nil {
		client, err := s.proof.dialRTSP(ctx, address)
		if err != nil {
			return nil, err
		}
		s.client = client
		return client.Describe(ctx, header)
	}
	return s.client.DescribeAt(ctx, address, header)
}

func (s *rtspSession) close() {
	if s.client != nil {
		s.client.Close()
	}
}

// dialRTSP connects to an RTSP server. Credentials are sent once, and not again after a
// refusal, except for a nonce that ran out.
func (p *proof) dialRTSP(ctx context.Context, address string) (*rtspclient.Client, error) {
	return rtspclient.Dial(ctx, address, rtspclient.Options{
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return p.client.dial(ctx, network, address)
		},
		Username: p.target.Username, Password: p.target.Password, Certificate: p.target.Certificate,
		MayTry: func(ctx context.Context, peer netip.Addr) (func(), error) {
			a, err := p.mayTry(ctx, peer, RTSP)
			if err != nil {
				return nil, err
			}
			return a.accepted, nil
		},
		Refused: func(peer netip.Addr) {
			p.client.guard.note(peer, p.client.cfg.Now())
			p.distrust(peer)
		},
		UserAgent: upstream.Agent,
		Check: func(header base.Header) error {
			if upstream.IsAgent(header["Server"]) { // a door never serves a door
				return fail(AddressForbidden, RTSP)
			}
			return nil
		},
		ResponseTimeout: p.client.cfg.Within,
	})
}

// rtspFailure classifies the error of a conversation.
func rtspFailure(err error) *Failure {
	var failure *Failure
	var status *rtspclient.StatusError
	var certificate *rtspclient.CertificateError
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.As(err, &certificate):
		return &Failure{Kind: CertificateNotTrusted, Service: RTSP, Certificate: certificate.Fingerprint}
	case errors.Is(err, rtspclient.ErrWrongPassword), errors.Is(err, rtspclient.ErrNoCredentials):
		return fail(WrongPassword, RTSP)
	case errors.Is(err, rtspclient.ErrMute):
		return fail(Timeout, RTSP)
	case errors.Is(err, rtspclient.ErrDescription):
		return fail(DescriptionUnreadable, RTSP)
	case errors.Is(err, rtspclient.ErrNotRTSP), errors.Is(err, rtspclient.ErrEnded), errors.Is(err, rtspclient.ErrNoise), errors.Is(err, rtspclient.ErrNoTLS):
		return fail(NotRTSP, RTSP)
	case errors.Is(err, rtspclient.ErrRedirect), errors.Is(err, rtspclient.ErrScheme): // with a 401, and no credentials were sent
		return fail(Unsupported, RTSP)
	case errors.As(err, &status):
		return fail(kindOfStatus(status.Code), RTSP)
	default:
		return fail(kindOf(err, Unsupported), RTSP)
	}
}

func kindOfStatus(code base.StatusCode) Kind {
	switch code {
	case base.StatusUnauthorized, base.StatusForbidden:
		return WrongPassword
	case base.StatusNotFound, base.StatusBadRequest:
		return NoSuchPath
	default:
		return Unsupported
	}
}

// mediasOf returns what a description offers.
func mediasOf(d *rtspclient.Description) ([]Media, error) {
	var out []Media
	plays := false
	for _, t := range d.Tracks {
		m := t.Media
		if m.Type != description.MediaTypeVideo && m.Type != description.MediaTypeAudio || len(out) == maxMedias {
			continue
		}
		out = append(out, Media{Kind: string(m.Type), Codec: codecOf(m.Formats), BackChannel: m.IsBackChannel})
		plays = plays || !m.IsBackChannel
	}
	if !plays {
		return nil, rtspclient.ErrNoTracks
	}
	return out, nil
}

// codecOf returns the name of the first format; of one that the library cannot read, the
// name that the device gives it.
func codecOf(formats []format.Format) string {
	if len(formats) == 0 {
		return ""
	}
	if g, ok := formats[0].(*format.Generic); ok {
		name, _, _ := strings.Cut(g.RTPMa, "/")
		return printable(name)
	}
	return printable(formats[0].Codec())
}
