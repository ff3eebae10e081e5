package node

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that frameCodec falls back to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// frame is an encoded message.
type frame mem.BufferSlice

// frameCodec sends frames unchanged and everything else as protobuf.
type frameCodec struct{}

func (frameCodec) Name() string { return "proto" }

func (frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice(f), nil
	}
	return encoding.GetCodecV2("proto").Marshal(v)
}

func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return encoding.GetCodecV2("proto").Unmarshal(data, v)
}

// eventFrame returns ReadResp.event with the record as its event and, if link is not nil,
// that as its link. A nil record is a link without a target.
func eventFrame(record, link []byte, position uint64) frame {
	body := protowire.SizeTag(3) + protowire.SizeVarint(position)
	if record != nil {
		body += protowire.SizeTag(1) + protowire.SizeBytes(len(record))
	}
	if link != nil {
		body += protowire.SizeTag(2) + protowire.SizeBytes(len(link))
	}
	head := make([]byte, 0, 32)
	head = protowire.AppendTag(head, 1, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(body))
	head = appendUintField(head, 3, position)
	if record != nil {
		head = protowire.AppendTag(head, 1, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(len(record)))
	}
	if link == nil {
		return frame{mem.SliceBuffer(head), mem.SliceBuffer(record)}
	}
	mid := protowire.AppendTag(nil, 2, protowire.BytesType)
	mid = protowire.AppendVarint(mid, uint64(len(link)))
	if record == nil {
		return frame{mem.SliceBuffer(append(head, mid...)), mem.SliceBuffer(link)}
	}
	return frame{mem.SliceBuffer(head), mem.SliceBuffer(record), mem.SliceBuffer(mid), mem.SliceBuffer(link)}
}
