// Package h264 holds the little of H.264 that a simulated camera needs: an encoder
// for drawn pictures, and a reader that splits a recorded Annex B file into pictures.
//
// The encoder writes the constrained baseline profile: every picture is one slice,
// macroblocks that did not change since the picture before are skipped, all others
// are coded Intra 16x16 with CAVLC at one quantiser. That is small for drawings with
// a still background, costs little, and every decoder plays it. It has no motion
// search, no rate control and no deblocking; a real camera's encoder does not belong
// here. Section, table and clause numbers are those of ITU-T H.264 (08/2021).
package h264
