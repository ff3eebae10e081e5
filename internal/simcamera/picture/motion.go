package picture

import (
	"math"
	"time"
)

const hubHeight = 330

var turbines = []float64{930, 1060, 2040, 2980, 3120}

// stage is the part of the world that a view shows, with what moves drawn on it.
type stage struct {
	canvas
	left, top float64 // where it lies in the world
}

// x turns a world coordinate into one of the stage, for something that reaches no
// farther than margin to its left; the world closes in a ring.
func (s stage) x(world, margin float64) float64 {
	d := math.Mod(world-s.left+margin, worldWidth)
	if d < 0 {
		d += worldWidth
	}
	return d - margin
}

func (s stage) y(world float64) float64 { return world - s.top }

// move draws everything that moves as it is at an instant.
func (s stage) move(at time.Time) {
	// Within a day: a float64 of seconds since 1970 would lose the fine steps.
	t := float64(at.UnixMilli()%86_400_000) / 1000
	s.clouds(t)
	for i, x := range turbines {
		s.blades(x, t/(5+float64(i%3)))
	}
	s.walkers(t)
	for i := range 3 {
		s.car(float64(i)*1365-170*t, roadTop+30, false, [3]colour{rgb(56, 96, 168), rgb(236, 236, 232), rgb(232, 190, 60)}[i])
	}
	for i := range 3 {
		s.car(float64(i)*1365+300+210*t, roadTop+84, true, [3]colour{rgb(196, 48, 44), rgb(60, 66, 74), rgb(62, 140, 120)}[i])
	}
}

func (s stage) clouds(t float64) {
	for i := range 7 {
		x := s.x(float64(i)*585+float64(scatter(i+3)%200)+(5+float64(i%3))*t, 160)
		y := s.y(150 + float64(scatter(i+70)%210))
		size := 0.7 + float64(scatter(i+20)%60)/100
		shade, white := rgb(222, 230, 238), rgb(246, 248, 250)
		s.ellipse(x, y+14*size, 120*size, 24*size, shade)
		s.ellipse(x-44*size, y, 56*size, 30*size, white)
		s.ellipse(x+38*size, y-4*size, 64*size, 34*size, white)
		s.ellipse(x-4*size, y-20*size, 54*size, 36*size, white)
	}
}

// blades draws the rotor of a wind turbine after a number of turns.
func (s stage) blades(world, turns float64) {
	x, y := s.x(world, 130), s.y(hubHeight)
	white := rgb(246, 247, 248)
	for i := range 3 {
		a := 2 * math.Pi * (turns + float64(i)/3)
		dx, dy := math.Sin(a), -math.Cos(a)
		s.polygon(white,
			point{x - 4*dy, y + 4*dx}, point{x + 30*dx - 8*dy, y + 30*dy + 8*dx},
			point{x + 120*dx, y + 120*dy}, point{x + 4*dy, y - 4*dx})
	}
	s.ellipse(x, y, 9, 9, rgb(206, 210, 214))
}

func (s stage) walkers(t float64) {
	for i := range 3 {
		x := s.x(float64(i)*1365+520+46*t, 40)
		y := s.y(roadTop - 12)
		swing := 13 * math.Sin(2*math.Pi*(t*0.9+float64(i)/3))
		trousers := rgb(58, 62, 84)
		s.polygon(trousers, point{x - 5, y - 36}, point{x + 5, y - 36}, point{x + swing + 4, y}, point{x + swing - 4, y})
		s.polygon(trousers, point{x - 5, y - 36}, point{x + 5, y - 36}, point{x - swing + 4, y}, point{x - swing - 4, y})
		s.rect(x-9, y-70, 18, 36, [3]colour{rgb(198, 90, 60), rgb(70, 120, 90), rgb(120, 80, 140)}[i])
		s.ellipse(x, y-80, 10, 11, rgb(226, 184, 154))
	}
}

// car draws one whose wheels stand at a height of the world.
func (s stage) car(world, wheels float64, toRight bool, paint colour) {
	x, y := s.x(world, 100), s.y(wheels)
	way := 1.0
	if !toRight {
		way = -1
	}
	glass, tyre := rgb(176, 206, 222), rgb(34, 34, 38)
	s.polygon(paint, point{x - 52*way, y - 40}, point{x - 34*way, y - 66}, point{x + 22*way, y - 66}, point{x + 48*way, y - 40})
	s.polygon(glass, point{x - 42*way, y - 41}, point{x - 29*way, y - 60}, point{x - 6*way, y - 60}, point{x - 6*way, y - 41})
	s.polygon(glass, point{x, y - 41}, point{x, y - 60}, point{x + 18*way, y - 60}, point{x + 38*way, y - 41})
	s.rect(x-78, y-41, 156, 29, paint)
	s.ellipse(x-44, y-10, 17, 17, tyre)
	s.ellipse(x+44, y-10, 17, 17, tyre)
	s.ellipse(x-44, y-10, 8, 8, rgb(180, 182, 186))
	s.ellipse(x+44, y-10, 8, 8, rgb(180, 182, 186))
	s.rect(x+70*way-5, y-36, 10, 10, rgb(255, 246, 196))
	s.rect(x-72*way-4, y-36, 8, 10, rgb(220, 40, 36))
}
