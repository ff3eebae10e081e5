package simcamera

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// maxBody limits the size of a request body, in bytes.
const maxBody = 16 << 10

// httpServer is the HTTP side of a camera for as long as it is there.
type httpServer struct {
	camera  *Camera
	server  *http.Server
	address string
	serving sync.WaitGroup

	mu     sync.Mutex
	talks  map[net.Conn]int // connections that carry raw sound, and their channel
	closed bool
}

func (c *Camera) listenHTTP(address string) (*httpServer, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP: %w", err)
	}
	s := &httpServer{camera: c, address: l.Addr().String(), talks: map[net.Conn]int{}}
	s.server = &http.Server{
		Handler:           s.counted(s.guarded(newDigestGuard(c))),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(c.cfg.Logger.Handler(), slog.LevelDebug),
	}
	s.serving.Go(func() { _ = s.server.Serve(l) }) // ends with close
	return s, nil
}

// close ends every connection and waits for the handlers that hold one.
func (s *httpServer) close() {
	s.mu.Lock()
	s.closed = true
	for conn := range s.talks {
		conn.Close()
	}
	s.mu.Unlock()
	s.server.Close()
	s.serving.Wait()
}

// counted lets close wait for handlers, which net/http's Close does not.
func (s *httpServer) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			panic(http.ErrAbortHandler)
		}
		s.serving.Add(1)
		s.mu.Unlock()
		defer s.serving.Done()
		next.ServeHTTP(w, r)
	})
}

// guarded asks for credentials as ISAPI does, and as ONVIF does under its own path.
func (s *httpServer) guarded(guard *digestGuard) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /onvif/", s.onvif)
	mux.Handle("/", guard.wrap(s.routes()))
	return mux
}

// remote is the address of a client.
func remote(r *http.Request) net.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return &net.TCPAddr{}
	}
	return net.TCPAddrFromAddrPort(addr)
}

func (s *httpServer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ISAPI/System/deviceInfo", s.deviceInfo)
	mux.HandleFunc("GET /ISAPI/System/Video/inputs/channels", s.videoInputs)
	mux.HandleFunc("GET /ISAPI/ContentMgmt/InputProxy/channels", s.linkedCameras)
	mux.HandleFunc("GET /ISAPI/ContentMgmt/record/tracks", s.tracks)

	mux.HandleFunc("POST /ISAPI/ContentMgmt/search", s.search)
	mux.HandleFunc("GET /ISAPI/System/time", s.clock)
	mux.HandleFunc("GET /ISAPI/Streaming/channels/{stream}/picture", s.isapiPicture)
	mux.HandleFunc("GET /onvif-http/snapshot", s.onvifPicture)

	ptz := "/ISAPI/PTZCtrl/channels/{channel}/"
	if s.camera.cfg.Recorder { // its cameras are linked
		ptz = "/ISAPI/ContentMgmt/PTZCtrlProxy/channels/{channel}/"
	}
	mux.HandleFunc("GET "+ptz+"capabilities", s.withHead(s.ptzCapabilities))
	mux.HandleFunc("GET "+ptz+"status", s.withHead(s.ptzStatus))
	mux.HandleFunc("GET "+ptz+"presets", s.withHead(s.presets))
	mux.HandleFunc("PUT "+ptz+"continuous", s.withHead(s.moveHead))
	mux.HandleFunc("PUT "+ptz+"momentary", s.withHead(s.moveHead))
	mux.HandleFunc("PUT "+ptz+"relative", s.withHead(s.turnHead))
	mux.HandleFunc("PUT "+ptz+"absolute", s.withHead(s.turnHead))
	mux.HandleFunc("PUT "+ptz+"presets/{preset}", s.withHead(s.storePreset))
	mux.HandleFunc("PUT "+ptz+"presets/{preset}/goto", s.withHead(s.recallPreset))

	const talk = "/ISAPI/System/TwoWayAudio/channels"
	mux.HandleFunc("GET "+talk, s.talkChannels)
	mux.HandleFunc("PUT "+talk+"/{channel}/open", s.openTalk)
	mux.HandleFunc("PUT "+talk+"/{channel}/close", s.closeTalk)
	mux.HandleFunc("PUT "+talk+"/{channel}/audioData", s.audioData)

	mux.HandleFunc("GET /ISAPI/Event/notification/alertStream", s.alertStream)
	mux.HandleFunc("POST /sim/{order}", s.simulate)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { respond(w, r, statusInvalidOperation) })
	return mux
}

// body reads a request's body within its limit.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}
