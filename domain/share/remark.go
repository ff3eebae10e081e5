package share

// SeesRemark reports whether an account may read the remark of a share: only its owner
// may, never the recipient. The read model of received shares does not even have it.
func SeesRemark(owner, account string) bool { return account != "" && account == owner }
