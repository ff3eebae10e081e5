package picture

import (
	"image"
	"math"
)

// colour is a pixel as it is stored: BT.709, limited range.
type colour struct{ y, cb, cr byte }

func rgb(r, g, b float64) colour {
	r, g, b = r/255, g/255, b/255
	y := 0.2126*r + 0.7152*g + 0.0722*b
	return colour{
		y:  byte(16 + 219*y + 0.5),
		cb: byte(128 + 224*(b-y)/1.8556 + 0.5),
		cr: byte(128 + 224*(r-y)/1.5748 + 0.5),
	}
}

// blend goes from a (0) to b (1).
func blend(a, b colour, share float64) colour {
	mix := func(p, q byte) byte { return byte(float64(p) + (float64(q)-float64(p))*share + 0.5) }
	return colour{mix(a.y, b.y), mix(a.cb, b.cb), mix(a.cr, b.cr)}
}

// canvas draws into a picture; what falls outside it is left out.
type canvas struct {
	*image.YCbCr
}

func newCanvas(width, height int) canvas {
	return canvas{image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)}
}

// span fills from x0 up to, not including, x1 in row y. Everything is drawn with it.
func (c canvas) span(y, x0, x1 int, k colour) {
	x0, x1 = max(x0, 0), min(x1, c.Rect.Max.X)
	if y < 0 || y >= c.Rect.Max.Y || x0 >= x1 {
		return
	}
	fill(c.Y[y*c.YStride+x0:y*c.YStride+x1], k.y)
	if y%2 != 0 {
		return
	}
	at := y / 2 * c.CStride
	fill(c.Cb[at+x0/2:at+(x1+1)/2], k.cb)
	fill(c.Cr[at+x0/2:at+(x1+1)/2], k.cr)
}

func fill(p []byte, v byte) {
	for i := range p {
		p[i] = v
	}
}

func (c canvas) rect(x, y, w, h float64, k colour) {
	for row := round(y); row < round(y+h); row++ {
		c.span(row, round(x), round(x+w), k)
	}
}

func (c canvas) ellipse(x, y, rx, ry float64, k colour) {
	for row := round(y - ry); row <= round(y+ry); row++ {
		d := (float64(row) - y) / ry
		if d < -1 || d > 1 {
			continue
		}
		half := rx * math.Sqrt(1-d*d)
		c.span(row, round(x-half), round(x+half), k)
	}
}

type point struct{ x, y float64 }

// polygon fills a convex outline.
func (c canvas) polygon(k colour, outline ...point) {
	top, bottom := outline[0].y, outline[0].y
	for _, p := range outline {
		top, bottom = min(top, p.y), max(bottom, p.y)
	}
	for row := max(round(top), 0); row <= min(round(bottom), c.Rect.Max.Y-1); row++ {
		left, right := math.Inf(1), math.Inf(-1)
		for i, a := range outline {
			b := outline[(i+1)%len(outline)]
			y := float64(row)
			if y < min(a.y, b.y) || y > max(a.y, b.y) {
				continue
			}
			x := a.x
			if a.y != b.y {
				x = a.x + (b.x-a.x)*(y-a.y)/(b.y-a.y)
			}
			left, right = min(left, x), max(right, x)
		}
		if left < right {
			c.span(row, round(left), round(right), k)
		}
	}
}

func round(v float64) int { return int(math.Floor(v + 0.5)) }
