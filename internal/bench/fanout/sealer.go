package fanout

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sealerOf is the floor of WebRTC: it encrypts each packet of a camera once for each viewer, as
// SRTP does with AES-GCM (RFC 7714), and sends them with as few calls of sendmmsg as there
// can be, one datagram a packet. There is no handshake, no report and no policy.
type sealerOf struct {
	fd int

	mu       sync.Mutex
	viewers  []*sealed
	messages [maxMessages]message
	packets  [maxMessages]unix.Iovec
	data     [maxMessages][maxPacket]byte
	filled   int
}

// sealed is a viewer.
type sealed struct {
	port   int
	to     *unix.RawSockaddrInet4
	key    cipher.AEAD
	number uint16
}

// CameraPath is the camera that the sealer and pion show.
const CameraPath = "/cam/0"

func sealer(l net.Listener, camera string) error {
	d, err := openDatagrams()
	if err != nil {
		return err
	}
	s := &sealerOf{fd: d.fd}
	failed := make(chan error, 2)
	go func() {
		failed <- http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // on loopback
			port, err := strconv.Atoi(r.URL.Path[1:])
			if err != nil {
				http.Error(w, "not a port", http.StatusBadRequest)
				return
			}
			if r.Method == http.MethodDelete {
				s.leave(port)
				return
			}
			s.join(port)
		}))
	}()
	go func() {
		failed <- pictures(camera, func(packets [][]byte) { s.send(packets) })
	}()
	return <-failed
}

// pictures calls a function for each picture of a camera, with its packets of RTP.
func pictures(camera string, take func([][]byte)) error {
	in, err := dial(context.Background(), Target{Address: camera, Path: CameraPath}, nil)
	if err != nil {
		return err
	}
	defer in.conn.Close()
	var list [][]byte
	for {
		packet, err := peekPacket(in.in)
		if err != nil {
			return err
		}
		if packet[1] == 0 {
			list = append(list, append([]byte(nil), packet[4:]...))
			if packet[5]&0x80 != 0 {
				take(list)
				list = list[:0]
			}
		}
		if _, err := in.in.Discard(len(packet)); err != nil {
			return err
		}
	}
}

func (s *sealerOf) join(port int) {
	key := make([]byte, 16)
	rand.Read(key) // never fails
	block, _ := aes.NewCipher(key)
	gcm, _ := cipher.NewGCM(block)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.viewers = append(s.viewers, &sealed{port: port, to: socketAddress(port), key: gcm})
}

func (s *sealerOf) leave(port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.viewers = slices.DeleteFunc(s.viewers, func(v *sealed) bool { return v.port == port })
}

func (s *sealerOf) send(packets [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.viewers {
		for _, p := range packets {
			s.add(v, p)
		}
	}
	s.flush()
}

func (s *sealerOf) add(v *sealed, p []byte) {
	const header = 12
	v.number++
	out := append(s.data[s.filled][:0], p[:header]...)
	binary.BigEndian.PutUint16(out[2:], v.number)
	var iv [12]byte
	copy(iv[2:], out[8:12])
	binary.BigEndian.PutUint16(iv[10:], v.number)
	out = v.key.Seal(out, iv[:], p[header:], out[:header])
	s.packets[s.filled] = unix.Iovec{Base: &out[0]}
	s.packets[s.filled].SetLen(len(out))
	m := &s.messages[s.filled]
	*m = message{}
	m.Name, m.Namelen = (*byte)(unsafe.Pointer(v.to)), unix.SizeofSockaddrInet4
	m.Iov = &s.packets[s.filled]
	m.SetIovlen(1)
	if s.filled++; s.filled == maxMessages {
		s.flush()
	}
}

func (s *sealerOf) flush() {
	for from := 0; from < s.filled; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.messages[from])), uintptr(s.filled-from), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			from++ // lost, as datagrams may be
		default:
			from += int(n)
		}
	}
	s.filled = 0
}
