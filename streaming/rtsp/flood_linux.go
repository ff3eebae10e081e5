package rtsp

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// netOffset is where the IP header begins for a socket filter (SKF_NET_OFF); the UDP header
// begins at 0.
const netOffset = 0xfff00000

// dropFrom makes the kernel drop datagrams from these sources; from none removes the filter.
func dropFrom(conn *net.UDPConn, sources []netip.AddrPort) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	program := filterOf(sources)
	var failed error
	err = raw.Control(func(fd uintptr) {
		if len(sources) == 0 {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
			return
		}
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err != nil {
		return err
	}
	return failed
}

// filterOf returns a program that compares the source with each one, and drops the datagram
// at the first that is the same.
func filterOf(sources []netip.AddrPort) []unix.SockFilter {
	const (
		loadByte = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		and      = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		answer   = unix.BPF_RET | unix.BPF_K
	)
	var program []unix.SockFilter
	for _, s := range sources {
		addr, version, at := s.Addr().Unmap().WithZone(""), uint32(6), uint32(8)
		if addr.Is4() {
			version, at = 4, 12
		}
		one := []unix.SockFilter{
			{Code: loadHalf, K: 0}, {Code: equal, K: uint32(s.Port())},
			{Code: loadByte, K: netOffset}, {Code: and, K: 0xf0}, {Code: equal, K: version << 4},
		}
		for word := addr.AsSlice(); len(word) > 0; word, at = word[4:], at+4 {
			one = append(one, unix.SockFilter{Code: loadWord, K: netOffset + at}, unix.SockFilter{Code: equal, K: binary.BigEndian.Uint32(word)})
		}
		one = append(one, unix.SockFilter{Code: answer, K: 0})
		for n := range one {
			if one[n].Code == equal {
				one[n].Jf = uint8(len(one) - 1 - n) // to the next source
			}
		}
		program = append(program, one...)
	}
	return append(program, unix.SockFilter{Code: answer, K: 0xffffffff})
}
