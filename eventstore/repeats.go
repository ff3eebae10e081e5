package eventstore

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// again is how long a repeated message is not logged: after the first line, after the
// second, and after every later one.
var again = []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute}

// mostWords limits how many different messages are remembered.
const mostWords = 64

// repeats throttles repeated messages: the same message is logged at growing intervals,
// with the number of occurrences since.
type repeats struct {
	now func() time.Time // nil: time.Now

	mu    sync.Mutex
	words map[string]*said
}

type said struct {
	logged time.Time // the last line
	lines  int
	count  int // since the last line
}

// next returns how often a message about a subject has occurred since it was last to be
// logged, including this time; 0: it is not to be logged now. Digits are ignored, as
// ports and positions change each time.
func (r *repeats) next(about, words string) int {
	now := time.Now
	if r.now != nil {
		now = r.now
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, at := r.find(about+": "+withoutDigits(words)), now()
	s.count++
	if s.lines > 0 && at.Sub(s.logged) < again[min(s.lines, len(again))-1] {
		return 0
	}
	n := s.count
	s.logged, s.count, s.lines = at, 0, s.lines+1
	return n
}

func (r *repeats) find(words string) *said {
	if s := r.words[words]; s != nil {
		return s
	}
	if r.words == nil {
		r.words = map[string]*said{}
	}
	if len(r.words) >= mostWords {
		r.forgetOldest()
	}
	s := &said{}
	r.words[words] = s
	return s
}

func (r *repeats) forgetOldest() {
	oldest := ""
	for words, s := range r.words {
		if oldest == "" || s.logged.Before(r.words[oldest].logged) {
			oldest = words
		}
	}
	delete(r.words, oldest)
}

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, s)
}

// report logs a message about the log or a subscription, unless it was logged recently.
func (c *Client) report(level slog.Level, about, message string, reason error, args ...any) {
	words := message
	if reason != nil {
		words += inWords(reason)
		args = append(args, "error", inWords(reason))
	}
	n := c.repeats.next(about, words)
	if n == 0 {
		return
	}
	if n > 1 {
		args = append(args, "times", n)
	}
	c.logger.Log(c.life, level, message, args...)
}
