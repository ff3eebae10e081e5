package rtsp

import (
	"time"

	"golang.org/x/sys/unix"
)

// peerState returns how many bytes the peer has acknowledged, how many more it accepts,
// and the shortest round trip of late.
func peerState(fd int) (acked, window uint64, roundTrip time.Duration, ok bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, 0, 0, false
	}
	return info.Bytes_acked, uint64(info.Snd_wnd), time.Duration(info.Min_rtt) * time.Microsecond, true
}
