package picture

import (
	"math"
	"sync"
)

// The panorama goes all the way round; its pixels are half a pixel of a main picture
// of 640x360, so that edges come out smooth and a zoom has something to show.
const (
	worldWidth  = 4096
	worldHeight = 1080
	horizon     = 560
	hillFoot    = 720
	roadTop     = 790
	roadBottom  = 900
)

// panorama is what does not move, drawn once for the whole process and never changed.
var panorama = sync.OnceValue(func() canvas {
	c := newCanvas(worldWidth, worldHeight)
	drawSky(c)
	drawHills(c)
	drawMeadow(c)
	drawRoad(c)
	for i := range 26 {
		drawTree(c, float64(i*157+scatter(i)%90), 700+float64(scatter(i+50)%60), 0.8+float64(scatter(i+9)%50)/100)
	}
	drawHouse(c, 230, 730, rgb(226, 214, 190), rgb(150, 72, 52))
	drawHouse(c, 1240, 720, rgb(208, 190, 170), rgb(92, 84, 96))
	drawHouse(c, 2280, 735, rgb(232, 226, 214), rgb(132, 60, 60))
	drawHouse(c, 3330, 725, rgb(190, 200, 206), rgb(70, 90, 110))
	drawFence(c)
	for _, x := range turbines {
		c.polygon(rgb(236, 238, 240), point{x - 9, 690}, point{x - 4, hubHeight}, point{x + 4, hubHeight}, point{x + 9, 690})
	}
	return c
})

// scatter is a fixed pseudo-random sequence: the same scene in every process.
func scatter(i int) int {
	v := uint32(i)*2654435761 + 97
	v ^= v >> 15
	return int(v * 2246822519 >> 16)
}

func drawSky(c canvas) {
	top, low := rgb(74, 132, 196), rgb(214, 228, 238)
	for y := range hillFoot {
		c.span(y, 0, worldWidth, blend(top, low, min(1, math.Pow(float64(y)/horizon, 1.3))))
	}
	glow, sun := rgb(236, 232, 214), rgb(255, 248, 214)
	for r := 78.0; r > 46; r -= 4 {
		c.ellipse(640, 300, r, r, blend(glow, rgb(190, 212, 230), (r-46)/34))
	}
	c.ellipse(640, 300, 46, 46, sun)
}

// drawHills draws ridges that meet themselves where the panorama closes.
func drawHills(c canvas) {
	ridge := func(base, size float64, waves [3]float64, phase float64, k colour) {
		for x := range worldWidth {
			a := 2 * math.Pi * float64(x) / worldWidth
			h := math.Sin(a*waves[0]+phase) + 0.5*math.Sin(a*waves[1]+2*phase) + 0.25*math.Sin(a*waves[2])
			for y := round(base - size*h); y < hillFoot; y++ {
				c.span(y, x, x+1, k)
			}
		}
	}
	ridge(530, 46, [3]float64{5, 13, 29}, 0.7, rgb(140, 166, 188))
	ridge(572, 30, [3]float64{7, 17, 41}, 2.1, rgb(104, 142, 138))
	ridge(610, 20, [3]float64{4, 11, 23}, 4.0, rgb(98, 146, 94))
}

func drawMeadow(c canvas) {
	far, near := rgb(116, 164, 88), rgb(78, 122, 62)
	for y := 650; y < worldHeight; y++ {
		// Steps of four rows: a smooth ramp costs bits and looks the same.
		c.span(y, 0, worldWidth, blend(far, near, float64(y/4*4-650)/(worldHeight-650)))
	}
}

func drawRoad(c canvas) {
	c.rect(0, roadTop-26, worldWidth, 18, rgb(186, 182, 174)) // pavement
	c.rect(0, roadTop-8, worldWidth, 8, rgb(140, 138, 134))
	c.rect(0, roadTop, worldWidth, roadBottom-roadTop, rgb(92, 94, 98))
	c.rect(0, roadBottom, worldWidth, 7, rgb(150, 148, 142))
	for x := 0; x < worldWidth; x += 128 {
		c.rect(float64(x), (roadTop+roadBottom)/2-2, 64, 5, rgb(228, 226, 214))
	}
}

func drawTree(c canvas, x, y, size float64) {
	c.rect(x-6*size, y-60*size, 12*size, 62*size, rgb(104, 80, 58))
	dark, light := rgb(58, 104, 56), rgb(82, 132, 68)
	c.ellipse(x, y-92*size, 48*size, 46*size, dark)
	c.ellipse(x-26*size, y-70*size, 32*size, 28*size, dark)
	c.ellipse(x+26*size, y-72*size, 32*size, 28*size, dark)
	c.ellipse(x-12*size, y-104*size, 26*size, 22*size, light)
}

func drawHouse(c canvas, x, y float64, wall, roof colour) {
	const w, h = 250, 130
	c.rect(x, y-h, w, h, wall)
	c.polygon(roof, point{x - 18, y - h}, point{x + 46, y - h - 74}, point{x + w - 46, y - h - 74}, point{x + w + 18, y - h})
	c.rect(x+176, y-h-100, 26, 60, blend(roof, wall, 0.3)) // chimney
	pane, frame := rgb(116, 158, 188), rgb(246, 244, 238)
	for i := range 3 {
		wx := x + 22 + float64(i)*62
		c.rect(wx-4, y-h+26, 48, 50, frame)
		c.rect(wx, y-h+30, 18, 42, pane)
		c.rect(wx+22, y-h+30, 18, 42, pane)
	}
	c.rect(x+204, y-80, 34, 80, rgb(96, 70, 56))
	c.rect(x+230, y-42, 4, 6, rgb(226, 200, 120))
}

func drawFence(c canvas) {
	wood := rgb(214, 204, 184)
	c.rect(0, 928, worldWidth, 6, wood)
	c.rect(0, 956, worldWidth, 6, wood)
	for x := 0; x < worldWidth; x += 64 {
		c.rect(float64(x), 912, 10, 70, wood)
	}
}
