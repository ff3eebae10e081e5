package main

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"latchkey/internal/testdb"
)

// TestTheDoorGoesOnWithoutTheDatabase: keys open, used before or not, and cameras
// that were dialled once are dialled again. What is not known is 503.
func TestTheDoorGoesOnWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	cam := startGstCamera(t, "digest")
	dsn, data := testdb.Postgres(t), t.TempDir()
	flags := []string{"--database", dsn, "--close-after", "0s"}
	s := serve(t, binary, data, flags...)
	owner := s.register(t, "owner")
	device := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	other := owner.addDevice("rtsp://"+cam.addr+"/h264", cameraUser, cameraPassword)
	old := owner.streamKey()
	if code := s.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	s = serve(t, binary, data, flags...)
	owner.api = s.api
	used, made, revoked := owner.streamKey(), owner.streamKey(), owner.streamKey()
	path := "/" + device + "/1"
	for _, key := range []string{used, revoked} {
		if got := describeStatus(t, s.rtsp, path, key); got != 200 {
			t.Fatalf("with the database: status %d", got)
		}
	}
	name, _, _ := strings.Cut(revoked, ":")
	owner.must("DELETE", "/stream-keys/"+name, nil, nil)

	database := func(there bool) {
		t.Helper()
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(u.Path, "/")
		u.Path = "/postgres"
		db, err := sql.Open("pgx", u.String())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		statements := []string{"ALTER DATABASE " + name + " ALLOW_CONNECTIONS true"}
		if !there {
			statements = []string{"ALTER DATABASE " + name + " ALLOW_CONNECTIONS false",
				"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'"}
		}
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	database(false)
	for what, c := range map[string]struct {
		path, key string
		want      int
	}{
		"a key that was used": {path, used, 200}, "one that was made": {path, made, 200}, "one from before the start": {path, old, 200},
		"one that is revoked": {path, revoked, 401}, "a wrong secret": {path, used + "x", 401}, "a camera that was never dialled": {"/" + other + "/1", used, 503},
	} {
		if got := describeStatus(t, s.rtsp, c.path, c.key); got != c.want {
			t.Errorf("%s without the database: status %d, want %d", what, got, c.want)
		}
	}
	if n, err := readOn(watching(t, s.rtsp, path, made, "tcp")); err != nil {
		t.Errorf("after %d packets: %v", n, err)
	}
	database(true)
	eventually(t, "all is as before", func() bool { return describeStatus(t, s.rtsp, "/"+other+"/1", used) == 200 })
}
