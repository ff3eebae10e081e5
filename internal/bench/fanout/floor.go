package fanout

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
)

// floor relays the cameras at an address: each picture with one write for each viewer
// over TCP and RTSPS, and with as few system calls as there can be over UDP. It has no
// queues, no policy, and parses nothing beyond the marker bit.
func floor(plain, secure net.Listener, cameras string) error {
	s := newServer(func(path string, to *stream) {
		if err := relay(cameras, path, to); err != nil {
			fmt.Fprintf(os.Stderr, "bench floor: relaying %s: %v\n", path, err)
			os.Exit(1)
		}
	})
	var err error
	if s.datagrams, err = openDatagrams(); err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	failed := make(chan error, 2)
	go func() { failed <- s.serve(plain) }()
	go func() { failed <- s.serve(secure) }()
	return <-failed
}

// relay sends what a camera sends until nobody watches.
func relay(cameras, path string, to *stream) error {
	in, err := dial(context.Background(), Target{Address: cameras, Path: path}, nil)
	if err != nil {
		return err
	}
	defer in.conn.Close()
	var picture []byte
	for {
		packet, err := peekPacket(in.in)
		if err != nil {
			return err
		}
		if packet[1] == 0 {
			picture = append(picture, packet...)
			if packet[5]&0x80 != 0 {
				if !to.send(picture) {
					return nil
				}
				picture = picture[:0]
			}
		}
		if _, err := in.in.Discard(len(packet)); err != nil {
			return err
		}
	}
}

// peekPacket returns the next interleaved packet with its head of four bytes.
func peekPacket(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(4)
	if err != nil {
		return nil, err
	}
	if head[0] != '$' {
		return nil, errors.New("the camera sends no interleaved packet")
	}
	return in.Peek(4 + int(binary.BigEndian.Uint16(head[2:])))
}

// listenTLS listens with a certificate from files.
func listenTLS(address, cert, key string) (net.Listener, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
}
