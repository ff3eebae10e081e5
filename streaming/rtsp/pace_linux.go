package rtsp

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerState returns how many bytes the peer has acknowledged, how many more it accepts,
// and the shortest round trip of late.
func peerState(fd int) (acked, window uint64, roundTrip time.Duration, ok bool) {
	var info unix.TCPInfo
	size := uint32(unix.SizeofTCPInfo)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, 0, 0, false
	}
	return info.Bytes_acked, uint64(info.Snd_wnd), time.Duration(info.Min_rtt) * time.Microsecond, true
}
