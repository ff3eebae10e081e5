package engine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// identityOfFile returns what tells a file from its copies: its number and its time of
// birth, where the file system has one. It stays when the file is written, or renamed
// within the file system.
func identityOfFile(path string) (string, error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &s); err != nil {
		return "", fmt.Errorf("identifying %s: %w", path, err)
	}
	born := "unknown"
	if s.Mask&unix.STATX_BTIME != 0 {
		born = fmt.Sprintf("%d.%09d", s.Btime.Sec, s.Btime.Nsec)
	}
	return fmt.Sprintf("%d born %s", s.Ino, born), nil
}
