// Package fmp4 packs what cameras send as RTP into fragmented MP4 (ISO/IEC 14496-12), which
// browsers play by Media Source Extensions and HLS.
//
// Pictures are passed on as they are: H.264 as avc1 and H.265 as hvc1 (ISO/IEC 14496-15),
// with decoding times that RTP does not have. So are AAC and Opus. G.711, which no browser
// has in MP4, becomes FLAC, which is lossless. What is missing of the sound is filled with
// silence: a player would wait for it, with the picture.
//
// A Muxer takes the packets of one stream and returns samples, which are the same for all
// who watch it. It knows nothing of viewers, permits and connections.
package fmp4
