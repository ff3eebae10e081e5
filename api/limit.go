package api

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"latchkey/internal/hashing"
)

func rateLimited(wait time.Duration) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: "rate_limited",
		detail: "Too many attempts; try again later.", header: retryAfter(wait),
	}
}

// passwordsBusy is the refusal when the queue for hashing is full.
func passwordsBusy(cause error) *problem {
	return &problem{
		status: http.StatusTooManyRequests, code: "passwords_busy",
		detail: "Too many passwords are being checked; try again soon.",
		header: retryAfter(hashing.RetryAfter), cause: cause,
	}
}

func retryAfter(wait time.Duration) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(wait.Seconds())))}}
}

// network returns a client's network for the limits: the IPv4 address, or the first 64
// bits of the IPv6 address, which belong to one customer.
func network(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "unknown"
	case a.Is4():
		return a.String()
	}
	p, _ := a.Prefix(64) // 64 bits fit every IPv6 address
	return p.String()
}
