package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"

	"latchkey/internal/bench/fanout"
)

// doorWorld is what the door is measured with.
type doorWorld struct {
	*bench
	camera, floor *fanout.Process
	door          *served
	secure        string   // the door's address of RTSPS
	owner         *account // of all devices
	auth          string   // the owner's stream key
	devices       []string // ids; device i is camera /cam/i
	binary        string
}

func openDoor(b *bench) (*doorWorld, error) {
	d := &doorWorld{bench: b}
	err := d.start()
	if err == nil {
		err = d.populate()
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *doorWorld) certificate() (cert, key string) {
	return filepath.Join(d.dir, "door.pem"), filepath.Join(d.dir, "door.key")
}

// start starts everything.
func (d *doorWorld) start() (err error) {
	cert, key := d.certificate()
	if err := fanout.WriteCertificate(cert, key); err != nil {
		return err
	}
	if d.camera, err = fanout.StartCamera(); err != nil {
		return err
	}
	return d.restart()
}

// restart starts door and floor, again if they run: memory is measured in fresh processes.
func (d *doorWorld) restart() (err error) {
	if d.door != nil {
		d.door.stop()
		d.floor.Stop()
		d.door, d.floor = nil, nil
	}
	cert, key := d.certificate()
	if d.floor, err = fanout.StartFloor(d.camera.Address, cert, key); err != nil {
		return err
	}
	if d.secure, err = fanout.FreeAddress(); err != nil {
		return err
	}
	d.door, err = startServe(d.bench, d.binary, "door", "CAMERA_NETS=127.0.0.0/8,::1/128", "RTSPS="+d.secure, "RTSPS_CERT="+cert, "RTSPS_KEY="+key)
	d.binary = filepath.Join(d.dir, "latchkey") // was just built
	if err == nil && d.owner != nil {
		d.owner.api = d.door.api + "/api/v1"
	}
	return err
}

func (d *doorWorld) close() {
	if d.door != nil {
		d.door.stop()
	}
	for _, p := range []*fanout.Process{d.floor, d.camera} {
		if p != nil {
			p.Stop()
		}
	}
}

// populate makes the owner, the cameras and a stream key.
func (d *doorWorld) populate() (err error) {
	if d.owner, err = d.door.account(d.ctx, "door-owner"); err != nil {
		return err
	}
	for i := range doorCameras {
		device := newDevice(fmt.Sprintf("door-%d", i))
		device["rtsp_url"] = "rtsp://" + d.camera.Address + cameraPath(i)
		var added struct{ ID string }
		if err := d.owner.call(d.ctx, "POST", "/devices", device, &added); err != nil {
			return err
		}
		d.devices = append(d.devices, added.ID)
	}
	d.auth, err = d.owner.streamKey(d.ctx)
	return err
}

// streamKey makes a stream key and returns the Authorization header of its players.
func (a *account) streamKey(ctx context.Context) (string, error) {
	var key struct{ Name, Secret string }
	if err := a.call(ctx, "POST", "/stream-keys", map[string]any{"label": "bench"}, &key); err != nil {
		return "", err
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(key.Name+":"+key.Secret)), nil
}

func cameraPath(i int) string { return fmt.Sprintf("/cam/%d", i) }
