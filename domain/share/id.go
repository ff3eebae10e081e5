package share

import "regexp"

// ID returns the id of the share between an owner and the holder of a login.
func ID(owner, login string) string { return owner + "." + login }

// idPattern is a UUID in lower case, and a login.
var idPattern = regexp.MustCompile(`^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.([0-9a-f]{32})$`)

// Parties returns the owner and the recipient's login of a share with that id; ok is
// false if it is not a share id.
func Parties(id string) (owner, login string, ok bool) {
	m := idPattern.FindStringSubmatch(id)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}
