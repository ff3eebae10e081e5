package device

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	serialPattern = regexp.MustCompile(`^[a-z0-9-]{3,64}$`)
	idPattern     = regexp.MustCompile(`^([a-z0-9-]{3,64})(\.([2-9]|[1-9][0-9]{1,8}))?$`)
)

// ID returns the id of a generation of the device with that serial.
func ID(serial string, generation int) string {
	if generation <= 1 {
		return serial
	}
	return serial + "." + strconv.Itoa(generation)
}

// Canonical returns the canonical spelling of a device id or serial that was entered. The
// device need not exist.
func Canonical(typed string) string { return strings.ToLower(strings.TrimSpace(typed)) }

// Serial returns the canonical spelling of a serial that was entered; ok is false if it
// is not a serial.
func Serial(typed string) (serial string, ok bool) {
	serial = Canonical(typed)
	return serial, serialPattern.MatchString(serial)
}

// SerialOf returns the serial of a device with that id; ok is false if it is not
// the id of a device.
func SerialOf(id string) (serial string, ok bool) {
	m := idPattern.FindStringSubmatch(id)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// generationOf returns the generation in an id.
func generationOf(id string) int {
	_, number, found := strings.Cut(id, ".")
	n, err := strconv.Atoi(number)
	if !found || err != nil {
		return 1
	}
	return n
}
