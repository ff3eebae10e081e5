package qrcode

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"image/png"
	"strings"
	"testing"
)

// TestTheDrawingsAgree: the terminal, the SVG and the PNG show the same modules.
func TestTheDrawingsAgree(t *testing.T) {
	c, err := New("http://192.168.1.5:8080/root.crt")
	if err != nil {
		t.Fatal(err)
	}
	image, err := png.Decode(bytes.NewReader(c.PNG()))
	if err != nil {
		t.Fatal(err)
	}
	scale := image.Bounds().Dx() / c.size()
	if scale < 1 || image.Bounds().Dx() != scale*c.size() {
		t.Fatalf("the image is %v for %d modules", image.Bounds(), c.size())
	}
	svg := string(c.SVG())
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Error(err)
	}
	lines := strings.Split(strings.TrimSpace(c.Terminal()), "\n")
	dark := 0
	for y := range c.size() {
		line := []rune(strings.TrimSuffix(lines[y/2][strings.Index(lines[y/2], "m")+1:], "\x1b[0m"))
		for x := range c.size() {
			inTerminal := line[x] == '█' || line[x] == '▀' && y%2 == 0 || line[x] == '▄' && y%2 == 1
			inImage := color.GrayModel.Convert(image.At(x*scale, y*scale)).(color.Gray).Y < 128
			inSVG := strings.Contains(svg, fmt.Sprintf("M%d %dh1", x, y))
			if inTerminal != inImage || inSVG != inImage {
				t.Fatalf("module %d,%d: %v in the terminal, %v in the image, %v in the SVG", x, y, inTerminal, inImage, inSVG)
			}
			if inImage {
				dark++
			}
		}
	}
	if dark < c.size()*c.size()/5 {
		t.Errorf("%d modules are dark", dark)
	}
	if _, err := New(strings.Repeat("x", 5000)); err == nil {
		t.Error("a text that is too long is accepted")
	}
}
