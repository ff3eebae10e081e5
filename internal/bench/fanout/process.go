package fanout

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// partEnv makes the program that calls Run the camera or the floor.
const partEnv = "LATCHKEY_BENCH_PART"

// Run ends the process after it was the camera or the floor, if that is what Start wants
// of it; otherwise it returns at once. The first thing that main does is to call it.
func Run() {
	part := strings.Split(os.Getenv(partEnv), "\n")
	if part[0] == "" {
		return
	}
	err := serve(part)
	fmt.Fprintf(os.Stderr, "bench %s: %v\n", part[0], err)
	os.Exit(1)
}

func serve(part []string) error {
	if len(part) < 2 {
		return errors.New("no address")
	}
	l, err := net.Listen("tcp", part[1])
	if err != nil {
		return err
	}
	switch {
	case part[0] == "camera" && len(part) == 2:
		return camera(l)
	case part[0] == "sealer" && len(part) == 3:
		return sealer(l, part[2])
	case part[0] == "pion" && len(part) == 3:
		return plainPion(l, part[2])
	case part[0] == "floor" && len(part) == 6:
		secure, err := listenTLS(part[2], part[4], part[5])
		if err != nil {
			return err
		}
		return floor(l, secure, part[3])
	}
	return errors.New("unknown part")
}

// Process is a camera or a floor in a process of its own.
type Process struct {
	Address string
	Secure  string // of RTSPS; only a floor has it
	PID     int
	cmd     *exec.Cmd
}

// StartCamera starts cameras: there is one at each path, from the first viewer on.
func StartCamera() (*Process, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	return start(&Process{Address: address}, "camera", address)
}

// StartFloor starts a floor in front of the cameras at an address.
func StartFloor(cameras, certFile, keyFile string) (*Process, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	secure, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	return start(&Process{Address: address, Secure: secure}, "floor", address, secure, cameras, certFile, keyFile)
}

// StartSealer starts the floor of WebRTC in front of the camera at an address. POST /PORT
// makes it send to that port of loopback until DELETE.
func StartSealer(camera string) (*Process, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	return start(&Process{Address: address}, "sealer", address, camera)
}

// StartPion starts pion's plain fan-out of the camera at an address: POST / takes an offer.
func StartPion(camera string) (*Process, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	return start(&Process{Address: address}, "pion", address, camera)
}

func start(p *Process, part ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), partEnv+"="+strings.Join(part, "\n"))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := lasting(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("starting the %s: %w", part[0], err)
	}
	p.PID = p.cmd.Process.Pid
	for range 200 {
		if listens(p.Address) && (p.Secure == "" || listens(p.Secure)) {
			return p, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.Stop()
	return nil, fmt.Errorf("the %s does not listen", part[0])
}

// starter is a thread that never ends.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range work {
			do()
		}
	}()
	return work
})

// lasting calls a function on a thread that never ends: Pdeathsig ends a process with the
// thread that has started it, and those of halls end.
func lasting(start func() error) error {
	done := make(chan error)
	starter() <- func() { done <- start() }
	return <-done
}

func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// Stop ends the process.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// FreeAddress returns an address of loopback on which nothing listens.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
