package rtsp

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerState returns how many bytes the peer has acknowledged, and how many more it
// accepts.
func peerState(conn *net.TCPConn) (acked, window uint64, ok bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var info *unix.TCPInfo
	var infoErr error
	if err := raw.Control(func(fd uintptr) {
		info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil || infoErr != nil {
		return 0, 0, false
	}
	return info.Bytes_acked, uint64(info.Snd_wnd), true
}

// smooth limits the kernel's sending rate, in bytes per second.
func smooth(conn *net.TCPConn, bytesPerSecond int) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, bytesPerSecond)
		})
	}
}
