// Package architecture holds the rules on which room may import which, as a
// test against what `go list` says.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "latchkey/"

// rooms lists, for each room, which rooms of ours it and its sub-packages may
// import besides themselves, and which foreign modules are its alone to have.
// A room that is not here fails the test.
var rooms = []struct {
	path string
	may  []string
	ban  []string // foreign import paths, by prefix, that the room must not know
}{
	{path: "domain/privilege", ban: []string{"github.com/"}},
	{path: "domain/event", may: []string{"domain/ids", "domain/privilege"}, ban: frameworks},
	{path: "domain/account", may: []string{"domain/event", "domain/ids", "domain/privilege"}, ban: frameworks},
	{path: "domain/device", may: []string{"domain/event", "domain/ids", "domain/privilege"}, ban: frameworks},
	{path: "domain/ids", ban: []string{"github.com/"}},
	{path: "domain/name", may: []string{"domain/event"}, ban: frameworks},
	{path: "domain/request", may: []string{"domain/event"}, ban: frameworks},
	{path: "domain/reclaim", may: []string{"domain/event"}, ban: frameworks},
	{path: "domain/share", may: []string{"domain/event", "domain/ids", "domain/privilege"}, ban: frameworks},
	{path: "domain/catalogue", may: []string{"domain"}, ban: frameworks},
	{path: "internal/app", may: []string{"domain", "internal/position"}, ban: frameworks},
	{path: "eventstore/node", ban: []string{echo, bun, gortsplib, watermill}},
	{path: "eventstore", may: []string{"internal/pause", "internal/position"}, ban: []string{echo, bun, gortsplib}},
	{path: "projections/engine", may: []string{"eventstore", "internal/pause", "internal/sum"}, ban: []string{echo, gortsplib, esdb}},
	{path: "projections", may: []string{"domain", "eventstore", "internal/pause", "internal/sum"}, ban: []string{echo, gortsplib, esdb}},
	{path: "api/portal", may: []string{"api/client", "internal/country", "internal/preset", "internal/qrcode"}, ban: frameworks},
	{path: "api", may: []string{"domain", "projections", "internal/accept", "internal/alarms", "internal/alert", "internal/app", "internal/country", "internal/hashing", "internal/heavy", "internal/live", "internal/position", "internal/preset", "internal/rates"}, ban: []string{gortsplib, esdb, watermill, bun}},
	{path: "streaming/rtspclient", ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/upstream", may: []string{"domain/ids", "internal/sealed", "streaming/rtspclient"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/playback", may: []string{"streaming/rtspclient", "streaming/upstream", "domain/ids", "domain/privilege"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/vod", may: []string{"streaming/fmp4", "streaming/playback"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/rtsp", may: []string{"streaming/backchannel", "streaming/speech", "streaming/talk", "streaming/playback", "streaming/upstream", "domain/ids", "domain/privilege", "projections/access", "internal/accept", "internal/sealed"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/webrtc", may: []string{"streaming/backchannel", "streaming/speech", "streaming/talk", "streaming/upstream", "domain/ids", "domain/privilege", "projections/access"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/mse", may: []string{"streaming/fmp4", "streaming/upstream"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/fmp4", ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/notes", may: []string{"domain/ids"}, ban: frameworks},
	{path: "streaming/backchannel", may: []string{"streaming/device", "streaming/notes", "streaming/rtspclient", "streaming/upstream", "domain/ids"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/speech", may: []string{"streaming/backchannel", "streaming/talk"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/talk", may: []string{"domain/ids"}, ban: frameworks},
	{path: "streaming/ptz", may: []string{"domain/ids", "domain/privilege", "projections/access", "streaming/notes"}, ban: frameworks},
	{path: "streaming/device", may: []string{"streaming/upstream", "streaming/rtspclient", "domain/privilege", "internal/alert"}, ban: []string{echo, bun, esdb, watermill}},
	{path: "streaming/cameratest", ban: []string{echo, bun, esdb, watermill}},
	{path: "internal/accept", ban: frameworks},
	{path: "internal/alarms", may: []string{"domain/ids", "domain/privilege", "projections/access", "internal/alert", "internal/rates", "internal/vault"}, ban: frameworks},
	{path: "internal/alert", ban: frameworks},
	{path: "internal/certificate", may: []string{"internal/pause", "internal/regular"}, ban: frameworks},
	{path: "internal/country", ban: frameworks},
	{path: "internal/descriptors", ban: frameworks},
	{path: "internal/hashing", ban: frameworks},
	{path: "internal/heavy", ban: frameworks},
	{path: "internal/live", may: []string{"domain", "eventstore", "internal/pause"}, ban: frameworks},
	{path: "internal/pause", ban: frameworks},
	{path: "internal/position", ban: frameworks},
	{path: "internal/push", may: []string{"internal/webhook"}, ban: frameworks},
	{path: "internal/qrcode", ban: frameworks},
	{path: "internal/quota", may: []string{"internal/app", "internal/memory", "internal/pause", "internal/position", "internal/rates"}, ban: frameworks},
	{path: "internal/rates", ban: frameworks},
	{path: "internal/regular", ban: frameworks},
	{path: "internal/sealed", ban: frameworks},
	{path: "internal/simcamera", ban: []string{echo, bun, esdb, watermill}},
	{path: "internal/sum", ban: frameworks},
	{path: "internal/vault", may: []string{"internal/hashing", "internal/heavy", "internal/position", "internal/regular"}, ban: []string{echo, gortsplib, esdb, watermill}},
	{path: "internal/reactors", may: []string{"domain", "eventstore", "internal/pause"}, ban: frameworks},
	{path: "internal/webhook", ban: frameworks},
	{path: "internal/notices", may: []string{"domain", "internal/app", "internal/message", "internal/outbox", "internal/pause", "internal/position", "internal/push", "internal/vault", "internal/webhook"}, ban: frameworks},
	{path: "internal/journal", may: []string{"domain", "eventstore", "internal/pause"}, ban: []string{echo, bun, gortsplib, watermill, esdb}},
	{path: "internal", may: []string{"domain", "eventstore", "eventstore/node", "projections", "api", "streaming", "internal"}},
	{path: "cmd/latchkey", may: []string{"domain", "eventstore", "eventstore/node", "projections", "api", "streaming", "internal"}},
}

const (
	echo      = "github.com/labstack/echo"
	bun       = "github.com/uptrace/bun"
	gortsplib = "github.com/bluenviron/gortsplib"
	watermill = "github.com/ThreeDotsLabs/watermill"
	esdb      = "github.com/EventStore/"
)

var frameworks = []string{echo, bun, gortsplib, watermill, esdb}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	seen := 0
	for _, p := range list(t) {
		path, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue
		}
		seen++
		i := slices.IndexFunc(rooms, func(r struct {
			path string
			may  []string
			ban  []string
		}) bool {
			return within(path, r.path)
		})
		if i < 0 {
			t.Errorf("%s is in no room", path)
			continue
		}
		for _, imported := range p.Imports {
			if !allowed(rooms[i].path, rooms[i].may, rooms[i].ban, imported) {
				t.Errorf("%s (room %s) must not import %s", path, rooms[i].path, imported)
			}
		}
	}
	if seen < len(rooms) {
		t.Errorf("only %d packages were seen", seen)
	}
}

// TestUpstreamServesNobody: the fan-out uses the client of the RTSP library and its
// formats, and nothing of its server, which is in the same package.
func TestUpstreamServesNobody(t *testing.T) {
	files, err := filepath.Glob("../../streaming/upstream/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("gortsplib.Server")) {
			t.Errorf("%s uses the library's server", file)
		}
	}
}

func allowed(room string, may, ban []string, imported string) bool {
	path, ours := strings.CutPrefix(imported, module)
	if !ours {
		return !slices.ContainsFunc(ban, func(b string) bool { return strings.HasPrefix(imported, b) })
	}
	// eventstore/node is a room of its own: its parent does not import it.
	if path == "eventstore/node" {
		return slices.Contains(may, path) || within(room, path)
	}
	return within(path, room) || slices.ContainsFunc(may, func(m string) bool { return within(path, m) })
}

func within(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "latchkey/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
