package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"gopkg.in/yaml.v3"

	"latchkey/domain/device"
	"latchkey/internal/regular"
)

// maxFirmwareFile limits the file of --sharing-firmware, in bytes.
const maxFirmwareFile = 1 << 20

// readFirmwarePolicy reads the oldest firmware with which devices may be shared; a path of
// "" allows any.
func readFirmwarePolicy(path string) (device.FirmwarePolicy, error) {
	if path == "" {
		return device.FirmwarePolicy{}, nil
	}
	f, err := regular.Open(path)
	if err != nil {
		return device.FirmwarePolicy{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFirmwareFile+1))
	if err != nil {
		return device.FirmwarePolicy{}, err
	}
	if len(text) > maxFirmwareFile {
		return device.FirmwarePolicy{}, fmt.Errorf("%s is larger than %d bytes", path, maxFirmwareFile)
	}
	var minimum map[string]string
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&minimum); err != nil && !errors.Is(err, io.EOF) {
		return device.FirmwarePolicy{}, fmt.Errorf("%s: %w", path, err)
	}
	policy, err := device.NewFirmwarePolicy(minimum)
	if err != nil {
		return device.FirmwarePolicy{}, fmt.Errorf("%s: %w", path, err)
	}
	return policy, nil
}
