package webrtc

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/pion/rtp"

	"latchkey/streaming/upstream"
)

// wrote is a writer that keeps what it is given.
type wrote struct{ list []rtp.Packet }

func (w *wrote) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	w.list = append(w.list, rtp.Packet{Header: *h, Payload: payload})
	return 0, nil
}

func (w *wrote) Write([]byte) (int, error) { return 0, nil }

// part returns a piece of the camera's packet of this number.
func part(number uint16, payload ...byte) piece {
	return piece{number: number, timestamp: uint32(number), payload: payload}
}

func TestNumbersOnlyGrow(t *testing.T) {
	w := &wrote{}
	tr := newTrack(0, "video/H264")
	tr.writer, tr.out = w, 65530
	send := func(p piece) {
		if err := tr.send(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, number := range []uint16{100, 101, 101, 99, 104, 103, 40000} { // 102 and 103 are lost; then another count
		send(part(number, 0x41))
		follows := part(number, 0x42)
		follows.follows = true
		if number == 101 {
			send(follows) // of the first one; the second one is late as a whole
		}
	}
	sets, resumes := part(40001, 0x65), part(40050, 0x65)
	sets.sets, resumes.resumes = []byte{0x78}, true
	send(sets)
	send(resumes)
	var got []uint16
	for _, p := range w.list {
		got = append(got, p.SequenceNumber)
	}
	if want := []uint16{65531, 65532, 65533, 0, 1, 2, 3, 4}; !reflect.DeepEqual(got, want) {
		t.Errorf("numbers %v, want %v", got, want)
	}
}

func TestLostPacketsAreSentAgain(t *testing.T) {
	w := &wrote{}
	tr := newTrack(0, "video/H264")
	tr.writer, tr.out = w, 0
	for n := range uint16(maxHistory + 10) {
		if err := tr.send(part(n, byte(n))); err != nil {
			t.Fatal(err)
		}
	}
	sent := w.list
	w.list = nil
	for _, number := range []uint16{5, maxHistory + 5, maxHistory + 100} { // too old, remembered, never sent
		if err := tr.again(number); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.list) != 1 || !reflect.DeepEqual(w.list[0], sent[maxHistory+4]) {
		t.Errorf("sent again: %+v", w.list)
	}
}

func TestParameterSetsAreAddedWhereMissing(t *testing.T) {
	h264 := &format.H264{SPS: []byte{0x67, 1}, PPS: []byte{0x68, 2}}
	mark := func(m *marker, timestamp uint32, key bool, payload ...byte) piece {
		p := piece{payload: payload, timestamp: timestamp}
		m.mark(&p, key)
		return p
	}
	m := newMarker(h264)
	if p := mark(&m, 1, true, 0x65); !p.begins || string(p.sets) != string([]byte{0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2}) {
		t.Errorf("a key frame without them: %+v", p)
	}
	if p := mark(&m, 1, true, 0x65); p.begins || p.sets != nil {
		t.Errorf("its second packet: %+v", p)
	}
	if p := mark(&m, 2, false, 0x41); p.begins {
		t.Errorf("another picture: %+v", p)
	}
	if p := mark(&m, 3, true, 0x78, 0, 1, 0x09, 0, 2, 0x67, 1); !p.begins || p.sets != nil {
		t.Errorf("the camera's own, in an aggregate: %+v", p)
	}
	if p := mark(&m, 4, true, 0x65); !p.begins || p.sets != nil {
		t.Errorf("a camera that sends its own: %+v", p)
	}
	m = newMarker(&format.H265{VPS: []byte{0x40, 1, 1}, SPS: []byte{0x42, 1, 2}, PPS: []byte{0x44, 1, 3}})
	if p := mark(&m, 1, true, 0x26, 1); string(p.sets) != string([]byte{0x60, 1, 0, 3, 0x40, 1, 1, 0, 3, 0x42, 1, 2, 0, 3, 0x44, 1, 3}) {
		t.Errorf("H.265: %+v", p)
	}
	if p := mark(&m, 2, true, 0x42, 1); p.sets != nil {
		t.Errorf("H.265 with its own: %+v", p)
	}
}

func TestSlowViewerGoesOnWithAKeyFrame(t *testing.T) {
	o := &outbox{}
	o.start(nil)
	offer := func(begins bool) {
		b := &burst{}
		for n := range 4 {
			b.add(piece{number: uint16(n), payload: make([]byte, 1400), begins: begins && n == 1})
		}
		o.offer(b, true)
	}
	offer(false)
	if list, _ := o.take(); len(list) != 0 {
		t.Error("it begins without a key frame")
	}
	offer(true)
	for range maxQueue / (4 * 1400) {
		offer(false)
	}
	offer(false)
	if list, more := o.take(); len(list) != 0 || more {
		t.Errorf("%d bursts wait that cannot be decoded", len(list))
	}
	offer(true)
	if list, more := o.take(); len(list) != 1 || more || len(list[0].pieces) != 3 || !list[0].pieces[0].resumes || list[0].pieces[0].number != 1 {
		t.Errorf("it goes on with %+v", list)
	}
}

// TestTurnsAreSmall: what a viewer gets at once fits the buffer of its socket.
func TestTurnsAreSmall(t *testing.T) {
	o := &outbox{}
	of := func(bytes int) *burst {
		b := &burst{}
		b.add(piece{payload: make([]byte, bytes)})
		return b
	}
	o.start([]*burst{of(maxTurn), of(1000), of(maxTurn - 1000), of(500)})
	o.offer(of(700), true)
	o.offer(of(2*maxTurn), true)
	for n, want := range []struct {
		bytes int
		more  bool
	}{{maxTurn, true}, {maxTurn, true}, {500, true}, {700, true}, {2 * maxTurn, false}, {0, false}} {
		list, more := o.take()
		bytes := 0
		for _, b := range list {
			bytes += b.bytes
		}
		if bytes != want.bytes || more != want.more {
			t.Errorf("turn %d has %d bytes, more is %v; want %d, %v", n, bytes, more, want.bytes, want.more)
		}
	}
	if o.bytes != 0 {
		t.Errorf("%d bytes are counted when all was taken", o.bytes)
	}
}

func TestLargePacketsAreSplit(t *testing.T) {
	st := &stream{video: 0, audio: -1, marks: newMarker(h264Format), flow: nil}
	st.formats = []format.Format{h264Format}
	data := make([]byte, 12+maxPayload+300)
	data[0], data[1], data[3], data[12] = 0x80, 0x80|96, 7, 0x65
	list := st.pieces(upstream.Packet{Data: data}, &st.marks, true)
	if len(list) != 2 {
		t.Fatalf("%d pieces", len(list))
	}
	first, second := list[0], list[1]
	if !first.begins || first.sets == nil || first.marker || first.follows || len(first.payload) != maxPayload || first.payload[0] != 0x7c || first.payload[1] != 0x85 {
		t.Errorf("the first: %+v", first)
	}
	if second.begins || second.sets != nil || !second.marker || !second.follows || second.number != 7 || second.payload[0] != 0x7c || second.payload[1] != 0x45 {
		t.Errorf("the second: %+v", second)
	}
	if list = st.pieces(upstream.Packet{Data: data[:12+maxPayload]}, &st.marks, true); len(list) != 1 || !list[0].marker {
		t.Errorf("one that fits: %+v", list)
	}
}

// TestPiecesMakeWhatWasSent: what a decoder makes of the pieces of large packets of H.264 is
// what it makes of the packets, whatever kind they are.
func TestPiecesMakeWhatWasSent(t *testing.T) {
	for _, sizes := range [][]int{{maxPayload}, {maxPayload + 1}, {3000}, {700, 700}, {100, 1350}, {60_000}} {
		var frame [][]byte
		for _, n := range sizes {
			unit := make([]byte, n)
			for i := range unit {
				unit[i] = byte(i % 251)
			}
			unit[0] = 0x65
			frame = append(frame, unit)
		}
		e := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: 1460, PacketizationMode: 1} // what upstream lets through
		if err := e.Init(); err != nil {
			t.Fatal(err)
		}
		packets, err := e.Encode(frame)
		if err != nil {
			t.Fatal(err)
		}
		decoder, err := h264Format.CreateDecoder()
		if err != nil {
			t.Fatal(err)
		}
		st := &stream{video: 0, audio: -1, marks: newMarker(h264Format), formats: []format.Format{h264Format}}
		var got [][]byte
		number := packets[0].SequenceNumber
		for _, packet := range packets {
			data, err := packet.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range st.pieces(upstream.Packet{Data: data}, &st.marks, true) {
				if len(piece.payload) > maxPayload {
					t.Errorf("%v: a piece of %d bytes", sizes, len(piece.payload))
				}
				p := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: piece.marker, SequenceNumber: number, Timestamp: piece.timestamp}, Payload: piece.payload}
				number++
				if units, err := decoder.Decode(p); err == nil {
					got = append(got, units...)
				}
			}
		}
		if !slices.EqualFunc(got, frame, bytes.Equal) {
			t.Errorf("%v: %d units of %d come out of %d packets", sizes, len(got), len(frame), len(packets))
		}
	}
}

// TestLargeSoundIsSplit: G.711 is cut between two samples; Opus cannot be cut, and is left
// out where it would not fit Ethernet.
func TestLargeSoundIsSplit(t *testing.T) {
	sound := &format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1}
	st := &stream{video: -1, audio: 1, formats: []format.Format{nil, sound}}
	data := make([]byte, 12+maxPayload+36)
	data[0], data[1], data[3], data[7] = 0x80, 0x80|8, 7, 9
	list := st.pieces(upstream.Packet{Track: 1, Data: data}, &st.marks, false)
	if len(list) != 2 || len(list[0].payload) != maxPayload || len(list[1].payload) != 36 {
		t.Fatalf("%+v", list)
	}
	if first, second := list[0], list[1]; first.follows || !second.follows || !first.marker || second.marker ||
		first.timestamp != 9 || second.timestamp != 9+maxPayload || second.number != 7 {
		t.Errorf("%+v, %+v", first, second)
	}
	if list = st.pieces(upstream.Packet{Track: 1, Data: data[:12+maxPayload]}, &st.marks, false); len(list) != 1 || list[0].timestamp != 9 {
		t.Errorf("one that fits: %+v", list)
	}
	st.formats[1] = &format.Opus{PayloadTyp: 8, ChannelCount: 2}
	if list = st.pieces(upstream.Packet{Track: 1, Data: data}, &st.marks, false); len(list) != 0 {
		t.Errorf("Opus: %+v", list)
	}
}

// TestWhatCannotBeSplitIsLeftOut: a large packet of an unknown kind is left out, and the
// picture that it ends is given.
func TestWhatCannotBeSplitIsLeftOut(t *testing.T) {
	f := quietFan(t)
	v := &viewer{fan: f}
	st := &stream{
		video: 0, audio: 1, marks: newMarker(h264Format), formats: []format.Format{h264Format, &format.Opus{PayloadTyp: 97, ChannelCount: 2}},
		fans: []*fan{f}, now: &burst{}, viewers: []*viewer{v},
	}
	v.box.start([]*burst{{}})
	v.box.take()
	packet := func(marker, kind, unit byte, size int) []byte {
		data := make([]byte, 12+size)
		data[0], data[1], data[12] = 0x80, marker|kind, unit
		return data
	}
	st.collect(upstream.Packet{Data: packet(0, 96, 0x41, 100)}, true)
	st.collect(upstream.Packet{Track: 1, Data: packet(0, 97, 1, maxPayload+1)}, false)
	if list, _ := v.box.take(); len(list) != 0 {
		t.Errorf("given before the end: %+v", list)
	}
	st.collect(upstream.Packet{Data: packet(0x80, 96, 30, maxPayload+1)}, false)
	if list, _ := v.box.take(); len(list) != 1 || len(list[0].pieces) != 1 || len(list[0].pieces[0].payload) != 100 {
		t.Errorf("the picture: %+v", list)
	}
}
