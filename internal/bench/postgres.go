package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"latchkey/internal/bench/fanout"
)

// postgres is a private PostgreSQL with its own folder, which syncs as one in
// production does.
type postgres struct {
	dsn string
	cmd *exec.Cmd
	dir string
}

func startPostgres(b *bench) (*postgres, error) {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return nil, errors.New("PostgreSQL is not installed: .ci/setup installs it")
	}
	slices.Sort(bins)
	bin := bins[len(bins)-1]
	dir, err := os.MkdirTemp(b.dir, "pg-")
	if err != nil {
		return nil, err
	}
	who, err := asPostgres(b.dir, dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "--no-locale", "-E", "UTF8", "-U", "postgres")
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	addr, err := fanout.FreeAddress()
	if err != nil {
		return nil, err
	}
	port := addr[len("127.0.0.1:"):]
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir,
		"-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB", "-c", "max_connections=120")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGQUIT}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	pg := &postgres{dsn: "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable", cmd: cmd, dir: dir}
	for range 200 {
		ready := exec.Command(filepath.Join(bin, "pg_isready"), "-h", "127.0.0.1", "-p", port)
		if ready.Run() == nil {
			return pg, nil
		}
	}
	pg.stop()
	return nil, errors.New("PostgreSQL does not respond")
}

func (p *postgres) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	_ = p.cmd.Wait()
}

// asPostgres is the user that PostgreSQL runs as: it refuses root.
func asPostgres(parent, dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(os.Chmod(parent, 0o755), os.Chown(dir, uid, gid))
}
