package audit

import (
	"fmt"
	"strings"
	"time"

	"latchkey/domain/account"
	"latchkey/domain/device"
	"latchkey/domain/name"
	"latchkey/domain/share"
)

// sentence says in words what happened. Identifiers stand as they are, so that
// they can be searched for.
func sentence(event any) string {
	switch e := event.(type) {
	case account.LoginClaimed:
		return fmt.Sprintf("account %s claimed login %s", e.Account, e.Login)
	case account.Registered:
		return fmt.Sprintf("account %s registered: %s, %s %s", e.Account, e.Name, e.Kind, e.Address)
	case account.StreamKeyAdded:
		return fmt.Sprintf("account %s made stream key %s%s%s", e.Account, e.Key, on(" for device ", e.Device), until(e.Expires))
	case account.StreamKeyRevoked:
		return fmt.Sprintf("account %s revoked stream key %s", e.Account, e.Key)
	case device.Added:
		return fmt.Sprintf("owner %s added device %s (%s): %s", e.Owner, e.Device, e.Name, channels(e.Channels))
	case device.Removed:
		return fmt.Sprintf("owner %s removed device %s", e.Owner, e.Device)
	case name.Claimed:
		return fmt.Sprintf("account %s claimed the name %q for device %s (share %s)", e.Account, e.Domain, e.Device, e.Share)
	case share.Opened:
		return fmt.Sprintf("owner %s opened share %s with %s %s%s", e.Owner, e.Share, e.Kind, e.Recipient, on(", remark: ", e.Remark))
	case share.RemarkChanged:
		return fmt.Sprintf("owner %s changed the remark of share %s to %q", e.Owner, e.Share, e.Remark)
	case share.Invited:
		return fmt.Sprintf("owner %s invited to device %s: %s (share %s)", e.Owner, e.Device, grants(e.Grants), e.Share)
	case share.Accepted:
		return fmt.Sprintf("account %s accepted device %s: %s (share %s)", e.Account, e.Device, grants(e.Grants), e.Share)
	case share.Rejected:
		return fmt.Sprintf("account %s rejected device %s (share %s)", e.Account, e.Device, e.Share)
	case share.PrivilegesEdited:
		return fmt.Sprintf("owner %s edited the privileges on device %s%s: %s (share %s)", e.Owner, e.Device, on(" of account ", e.Account), grants(e.Grants), e.Share)
	case share.DeviceRemoved:
		return fmt.Sprintf("device %s was taken out of share %s%s: %s", e.Device, e.Share, on(", from account ", e.Account), reasons[e.Reason])
	case share.Left:
		return fmt.Sprintf("account %s left device %s (share %s)", e.Account, e.Device, e.Share)
	case share.DomainSet:
		return fmt.Sprintf("account %s calls device %s %q (share %s)", e.Account, e.Device, e.Domain, e.Share)
	case share.Deleted:
		return fmt.Sprintf("owner %s deleted share %s with %s %s", e.Owner, e.Share, e.Kind, e.Recipient)
	}
	return fmt.Sprintf("%+v", event)
}

var reasons = map[share.Reason]string{
	share.ByOwner:       "by its owner",
	share.ShareDeleted:  "the share was deleted",
	share.DeviceDeleted: "the device was removed",
	share.Restored:      "it had been taken back before the log was restored",
}

func on(words, what string) string {
	if what == "" {
		return ""
	}
	return words + what
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + t.UTC().Format(time.RFC3339)
}

func grants(list []share.Grant) string {
	words := make([]string, len(list))
	for i, g := range list {
		words[i] = fmt.Sprintf("channel %d %v", g.Channel, g.Privileges)
	}
	return strings.Join(words, ", ")
}

func channels(list []device.Channel) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = fmt.Sprintf("channel %d can %v", c.Channel, c.Capabilities)
	}
	return strings.Join(words, ", ")
}
