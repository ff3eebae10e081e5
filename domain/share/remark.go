package share

// SeesRemark reports whether an account may read the remark of a share: it is its
// owner's alone, and the recipient never sees it. The read model of received shares
// does not even hold it.
func SeesRemark(owner, account string) bool { return account != "" && account == owner }
