package accept

import "golang.org/x/sys/unix"

// progress returns how many bytes the kernel was ever given, and how many of them it has
// sent; twice 0 if the connection is closed.
func (c *Conn) progress() (given, sent uint64) {
	tcp := c.tcp()
	if tcp == nil {
		return 0, 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, 0
	}
	_ = raw.Control(func(fd uintptr) {
		kept, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		if err != nil {
			return
		}
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.State == unix.BPF_TCP_CLOSE {
			return
		}
		given = info.Bytes_acked + uint64(kept)
		sent = given - min(given, uint64(info.Notsent_bytes))
	})
	return given, sent
}
