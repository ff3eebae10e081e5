package privilege

// MaxChannel is the highest channel number of a device; the lowest is 1.
const MaxChannel = 511

// Grant is a set of privileges on one channel of a device.
type Grant struct {
	Channel    int     `json:"channel"` // 1 to MaxChannel
	Privileges Set     `json:"privileges"`
	Limits     []Limit `json:"limits,omitempty"` // each privilege must be within all that name it
}
