package fanout

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A reader of hundreds of sockets on the cores of what is measured comes late to most of them,
// and its work is not part of a picture's way: the viewers of a real service have cores of
// their own. So the kernel notes when a datagram has arrived in its socket, and the reader
// reads when nothing else has anything to do.

// stampSpace is the room for the time of arrival of a datagram, in bytes.
const stampSpace = unix.SizeofCmsghdr + 16

// stamped makes the kernel note when the datagrams of a socket arrive.
func stamped(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
}

// arrival reads when a datagram arrived from its control message; false if it was not noted.
func arrival(control []byte) (time.Time, bool) {
	if len(control) < stampSpace {
		return time.Time{}, false
	}
	head := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if head.Level != unix.SOL_SOCKET || head.Type != unix.SO_TIMESTAMPNS_NEW {
		return time.Time{}, false
	}
	at := (*[2]int64)(unsafe.Pointer(&control[unix.SizeofCmsghdr]))
	return time.Unix(at[0], at[1]), true
}

// yielding makes the calling thread give way to all others.
func yielding() error { return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19) }
