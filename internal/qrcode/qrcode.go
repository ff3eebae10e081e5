// Package qrcode draws QR codes of short texts, such as addresses: for terminals, as PNG
// and as SVG.
package qrcode

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// margin is how many light modules are around a code, as its standard demands.
const margin = 4

// Code is a QR code.
type Code struct{ code *qr.Code }

// New returns the code of a text.
func New(text string) (Code, error) {
	c, err := qr.Encode(text, qr.M)
	if err != nil {
		return Code{}, fmt.Errorf("making a QR code: %w", err)
	}
	return Code{c}, nil
}

// PNG returns the code as an image.
func (c Code) PNG() []byte { return c.code.PNG() }

// size is the number of modules of a side, with the margin.
func (c Code) size() int { return c.code.Size + 2*margin }

func (c Code) dark(x, y int) bool { return c.code.Black(x-margin, y-margin) }

// Terminal returns the code as text, two modules above each other in one character: black
// on white, whatever the terminal's colours are.
func (c Code) Terminal() string {
	var b strings.Builder
	for y := 0; y < c.size(); y += 2 {
		b.WriteString("\x1b[38;5;16;48;5;231m")
		for x := range c.size() {
			switch top, bottom := c.dark(x, y), c.dark(x, y+1); {
			case top && bottom:
				b.WriteString("█")
			case top:
				b.WriteString("▀")
			case bottom:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}

// SVG returns the code as a drawing.
func (c Code) SVG() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%[1]dv%[1]dH0z"/><path d="`, c.size(), c.size())
	for y := range c.size() {
		for x := range c.size() {
			if c.dark(x, y) {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x, y)
			}
		}
	}
	b.WriteString("\"/></svg>\n")
	return []byte(b.String())
}
