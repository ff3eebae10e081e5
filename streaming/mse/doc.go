// Package mse shares live streams, packed as fragmented MP4, between all who watch them in
// browsers without WebRTC: by Media Source Extensions over a WebSocket, and by HLS.
//
// A stream is packed once, by package fmp4, and what it plays is given to each viewer. This
// package knows nothing of permits: whoever asks for a viewer holds one, checks it before
// each part that is sent, and closes the viewer when it ends.
package mse
