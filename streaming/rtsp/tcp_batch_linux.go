package rtsp

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxWrites is how many viewers one system call writes to.
const maxWrites = 256

// tcpBatch writes one burst to many connections with one system call (io_submit): for
// each picture that saves the Go runtime hundreds of calls, during which it looks after
// its threads.
type tcpBatch struct {
	context uintptr // of the kernel
	blocks  [maxWrites]controlBlock
	list    [maxWrites]*controlBlock
	events  [maxWrites]event
	of      [maxWrites]held
	n       int
}

// controlBlock is a struct iocb, and event a struct io_event.
type controlBlock struct {
	data      uint64
	_         uint64 // key and flags
	operation uint16
	_         int16 // priority
	fd        uint32
	buffer    *byte
	size      uint64
	_         [3]uint64 // offset, and what is of no use here
}

type event struct {
	data   uint64
	_      uint64
	result int64
	_      int64
}

const writeOperation = 1 // IOCB_CMD_PWRITE

// newTCPBatch returns a batch; nil if the kernel has none.
func newTCPBatch() *tcpBatch {
	t := &tcpBatch{}
	if _, _, errno := unix.RawSyscall(unix.SYS_IO_SETUP, maxWrites, uintptr(unsafe.Pointer(&t.context)), 0); errno != 0 {
		return nil
	}
	for n := range t.blocks {
		t.list[n] = &t.blocks[n]
	}
	return t
}

func (t *tcpBatch) close() { _, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, t.context, 0, 0) }

// add prepares a write to a connection.
func (t *tcpBatch) add(o *outbox, s *sub, fd int, data []byte) {
	t.blocks[t.n] = controlBlock{data: uint64(t.n), operation: writeOperation, fd: uint32(fd), buffer: &data[0], size: uint64(len(data))}
	t.of[t.n] = held{o, s}
	t.n++
}

// release unlocks what is held.
func (t *tcpBatch) release() {
	for _, h := range t.of[:t.n] {
		if h.box != nil {
			h.box.mu.Unlock()
		}
	}
	t.n = 0
}

func (t *tcpBatch) full() bool { return t.n == maxWrites }

// flush writes, and calls done with how much of each was written.
func (t *tcpBatch) flush(done func(h held, n int, err error)) {
	result := func(at uint64, n int64) {
		h := t.of[at]
		t.of[at] = held{}
		switch errno := unix.Errno(-n); {
		case n >= 0:
			done(h, int(n), nil)
		case errno == unix.EAGAIN || errno == unix.EINTR:
			done(h, 0, nil)
		default:
			done(h, 0, errno)
		}
	}
	for begin := 0; begin < t.n; {
		sent, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, t.context, uintptr(t.n-begin), uintptr(unsafe.Pointer(&t.list[begin])))
		if errno != 0 || sent == 0 { // of the first one
			result(uint64(begin), -int64(max(errno, unix.EAGAIN)))
			begin++
			continue
		}
		for got := 0; got < int(sent); {
			n, _, errno := unix.RawSyscall6(unix.SYS_IO_GETEVENTS, t.context, 1, sent-uintptr(got), uintptr(unsafe.Pointer(&t.events[0])), 0, 0)
			if errno != 0 {
				continue // interrupted
			}
			for _, e := range t.events[:n] {
				result(e.data, e.result)
			}
			got += int(n)
		}
		begin += int(sent)
	}
	runtime.KeepAlive(t)
	t.n = 0
}
