package rtsp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/url"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/mikey"
	"github.com/pion/srtp/v3"

	"latchkey/streaming/upstream"
)

const (
	srtpKey, srtpSalt = 16, 14 // bytes, of AES-CM-128 with HMAC-SHA1-80 (RFC 3711, section 8.2)

	// srtpQuery in an address asks for a description of SRTP: players that do not know it
	// would refuse one.
	srtpQuery = "srtp"
)

// protection encrypts one track for one viewer over UDP. Its key is unique to it, and ends
// with the session.
type protection struct {
	ssrc    uint32
	key     []byte
	context *srtp.Context
}

// protect makes new keys for every track of the stream.
func protect(st *stream) ([]*protection, error) {
	list := make([]*protection, len(st.tracks))
	for n, t := range st.tracks {
		p := &protection{ssrc: t.ssrc, key: make([]byte, srtpKey+srtpSalt)}
		rand.Read(p.key) // never fails
		var err error
		p.context, err = srtp.CreateContext(p.key[:srtpKey], p.key[srtpKey:], srtp.ProtectionProfileAes128CmHmacSha1_80)
		if err != nil {
			return nil, err
		}
		list[n] = p
	}
	return list, nil
}

// message returns the key for its viewer (MIKEY, RFC 3830 and RFC 4567). It is sent within
// TLS only.
func (p *protection) message(now time.Time) *mikey.Message {
	random := make([]byte, 20)
	rand.Read(random)
	policy := func(kind mikey.PayloadSPPolicyParamType, value byte) mikey.PayloadSPPolicyParam {
		return mikey.PayloadSPPolicyParam{Type: kind, Value: []byte{value}}
	}
	return &mikey.Message{
		Header: mikey.Header{
			Version: 1, CSBID: binary.BigEndian.Uint32(random[16:]), CSIDMapInfo: []mikey.SRTPIDEntry{{SSRC: p.ssrc}},
		},
		Payloads: []mikey.Payload{
			&mikey.PayloadT{TSValue: upstream.NTP(now)},
			&mikey.PayloadRAND{Data: random[:16]},
			&mikey.PayloadSP{PolicyParams: []mikey.PayloadSPPolicyParam{
				policy(mikey.PayloadSPPolicyParamTypeEncrAlg, 1),
				policy(mikey.PayloadSPPolicyParamTypeSessionEncrKeyLen, srtpKey),
				policy(mikey.PayloadSPPolicyParamTypeAuthAlg, 1),
				policy(mikey.PayloadSPPolicyParamTypeSessionAuthKeyLen, 10),
				policy(mikey.PayloadSPPolicyParamTypeSRTPEncrOffOn, 1),
				policy(mikey.PayloadSPPolicyParamTypeSRTCPEncrOffOn, 1),
				policy(mikey.PayloadSPPolicyParamTypeSRTPAuthOffOn, 1),
			}},
			&mikey.PayloadKEMAC{SubPayloads: []*mikey.SubPayloadKeyData{{Type: mikey.SubPayloadKeyDataKeyTypeTEK, KeyData: p.key}}},
		},
	}
}

// offer is what a description promised on a connection: keys for its next session.
type offer struct {
	of   *stream
	keys []*protection
}

// live reports whether the stream is one of a camera, and not a playback.
func (st *stream) live() bool { return st.flow != nil }

// wantsSRTP reports whether the description is to be one of SRTP.
func (w *wire) wantsSRTP(query string) bool {
	values, err := url.ParseQuery(query)
	return err == nil && w.tls != nil && values.Has(srtpQuery)
}

// describeSRTP returns the description of the stream with keys for the connection's next
// session.
func (w *wire) describeSRTP(st *stream) ([]byte, error) {
	keys, err := protect(st)
	if err != nil {
		return nil, err
	}
	out := &description.Session{Title: st.Desc.Title, FECGroups: st.Desc.FECGroups}
	for n, m := range st.Desc.Medias[:len(st.tracks)] {
		out.Medias = append(out.Medias, &description.Media{
			Type: m.Type, ID: m.ID, Control: controlOf(n), Formats: m.Formats, Secure: true, KeyMgmtMikey: keys[n].message(time.Now()),
		})
	}
	w.offer = offer{st, keys}
	return out.Marshal(false)
}

// protectionFor returns the keys of a new session: those that were promised, once.
func (w *wire) protectionFor(st *stream) ([]*protection, *refusal) {
	promised := w.offer
	w.offer = offer{}
	if promised.of == st {
		return promised.keys, nil
	}
	keys, err := protect(st)
	if err != nil {
		return nil, errInternalFault
	}
	return keys, nil
}

// datagramBox returns the outbox of a viewer over UDP.
func (d *Door) datagramBox(w *wire) *outbox {
	u := &udpWay{ports: d.udp, wire: w, credit: udpBurst}
	if w.tls != nil {
		return &outbox{door: d, way: &srtpWay{udpWay: u}}
	}
	return &outbox{door: d, way: u}
}

var errNoKey = errors.New("the track has no key")

// answerSRTP completes the response to the SETUP of a track that is sent encrypted.
func (v *viewer) answerSRTP(res *base.Response, track int, at *base.URL) error {
	var to headers.Transport
	if err := to.Unmarshal(res.Header["Transport"]); err != nil {
		return err
	}
	if track < 0 || track >= len(v.keys) {
		return errNoKey // of a back channel, which is not set up over SRTP
	}
	to.Secure = true
	res.Header["Transport"] = to.Marshal()
	var err error
	res.Header["KeyMgmt"], err = headers.KeyMgmt{URL: at.String(), MikeyMessage: v.keys[track].message(time.Now())}.Marshal()
	return err
}

// srtpWay sends datagrams that are encrypted for one viewer. Its units are packets.
type srtpWay struct {
	*udpWay
	keys []*protection // by track
	out  burst         // encrypted
}

func (w *srtpWay) send(b *burst, s *sub, from int) (int, error) {
	c := w.keys[b.track].context
	if b.control {
		if len(b.data) > 4 {
			rtcp, err := c.EncryptRTCP(nil, b.data[4:], nil)
			if err != nil {
				return 0, err
			}
			w.ports.report(rtcp, s.rtcp)
		}
		return 1, nil
	}
	w.fill()
	w.out = burst{data: w.out.data[:0], ends: w.out.ends[:0]}
	for n := from; n < len(b.ends) && w.credit > 0; n++ {
		packet, err := c.EncryptRTP(nil, b.packet(n), nil)
		if err != nil {
			return from, err
		}
		w.credit -= len(packet)
		w.out.data = append(append(w.out.data, '$', 0, 0, 0), packet...)
		w.out.ends = append(w.out.ends, int32(len(w.out.data)))
	}
	if len(w.out.ends) == 0 {
		return from, nil
	}
	return from + w.ports.send(&w.out, s.rtp, 0, len(w.out.ends), &w.alone), nil
}
