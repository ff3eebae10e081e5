package access

import "sync/atomic"

// devices has the owner of each device, by the device's number. It grows by pieces, which
// never move, so that a reader sees every removal at once. There is one writer.
type devices struct {
	pieces [1 << (24 - devicesBits)]atomic.Pointer[devicesPiece]
}

const devicesBits = 12

type devicesPiece struct {
	owners   [1 << devicesBits]atomic.Uint32
	channels [1 << devicesBits]uint16 // used by the writer: the highest channel granted
}

// gone is set on the owner's number of a removed device.
const gone = 1 << 31

// owner returns the number of the owner of a live device, else 0.
func (d *devices) owner(no uint32) uint32 {
	if owner := d.known(no); owner&gone == 0 {
		return owner
	}
	return 0
}

// known returns the number of the owner, with gone set if the device was removed; 0 for
// an unknown device.
func (d *devices) known(no uint32) uint32 {
	p := d.pieces[no>>devicesBits].Load()
	if p == nil {
		return 0
	}
	return p.owners[no&(1<<devicesBits-1)].Load()
}

func (d *devices) set(no, owner uint32) {
	d.piece(no).owners[no&(1<<devicesBits-1)].Store(owner)
}

// highest returns the highest channel that was granted on a device. It is for the writer
// only.
func (d *devices) highest(no uint32) *uint16 {
	return &d.piece(no).channels[no&(1<<devicesBits-1)]
}

func (d *devices) piece(no uint32) *devicesPiece {
	at := &d.pieces[no>>devicesBits]
	p := at.Load()
	for p == nil { // loading has two writers
		at.CompareAndSwap(nil, &devicesPiece{})
		p = at.Load()
	}
	return p
}
