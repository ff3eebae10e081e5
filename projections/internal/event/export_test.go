package event

// Quick reports whether Decode takes the short way.
func Quick(name string, data []byte) bool {
	s := scanner{rest: string(data)}
	return s.event(name) != nil && !s.bad && s.rest == ""
}
