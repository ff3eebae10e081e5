package main

import (
	"context"

	"latchkey/internal/simcamera"
)

// cameraCommand runs the simulated camera and recorder.
type cameraCommand struct {
	RTSP     string `name:"rtsp" env:"LATCHKEY_CAMERA_RTSP" default:"127.0.0.1:8555" placeholder:"ADDR" help:"RTSP address (${default})."`
	HTTP     string `name:"http" env:"LATCHKEY_CAMERA_HTTP" placeholder:"ADDR" help:"ISAPI address: PTZ, two-way audio, alarms. Without it: none."`
	File     string `env:"LATCHKEY_CAMERA_FILE" placeholder:"H264" help:"Play this Annex B H.264 file, over and over, in place of the generated picture."`
	Username string `env:"LATCHKEY_CAMERA_USERNAME" placeholder:"NAME" help:"User name that players must give. Without it: none."`
	Password string `env:"LATCHKEY_CAMERA_PASSWORD" placeholder:"TEXT" help:"Password that players must give."`

	Serial   string `env:"LATCHKEY_CAMERA_SERIAL" placeholder:"TEXT" help:"Serial number that the camera tells. Without it: SIM-0001."`
	Model    string `env:"LATCHKEY_CAMERA_MODEL" placeholder:"TEXT" help:"Model that the camera tells. Without it: LK-SIM-2."`
	Firmware string `env:"LATCHKEY_CAMERA_FIRMWARE" placeholder:"TEXT" help:"Firmware that the camera tells. Without it: V1.0.0 build 260101."`

	Logging `embed:""`
}

// Run plays until the context ends.
func (c *cameraCommand) Run(ctx context.Context, std streams) error {
	logger := c.logger(std)
	cam, err := simcamera.Start(ctx, simcamera.Config{
		RTSP: c.RTSP, HTTP: c.HTTP, File: c.File, Username: c.Username, Password: c.Password, Serial: c.Serial, Model: c.Model, Firmware: c.Firmware, Logger: logger,
	})
	if err != nil {
		return err
	}
	logger.Info("the camera is running", "rtsp", cam.RTSPAddr(), "http", cam.HTTPAddr(), "path", "/Streaming/Channels/101")
	<-ctx.Done()
	return cam.Close()
}
