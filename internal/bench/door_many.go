package main

import (
	"fmt"

	"latchkey/internal/bench/fanout"
)

// many measures 500 viewers of one camera, and of a hundred.
func (d *doorWorld) many() error {
	n := d.scaled(doorManyViewers)
	cameras := d.scaled(100)
	var one, hundred struct{ door, floor turns }
	measure := func(w way, cameras int, into *turns) error {
		before := fanout.ReceiveErrors()
		window, _, err := d.watched(w, cameras, n/cameras, false)
		if err != nil {
			return err
		}
		into.add(window)
		into.overflow += fanout.ReceiveErrors() - before
		d.say("door: %d viewers of %d cameras: %.3f CPU s/Gbit, p99 %.1f ms", n, cameras, window.PerGbit(), ms(window.Late(0.99)))
		return nil
	}
	for _, over := range []fanout.Transport{fanout.TCP, fanout.UDP} {
		var door, floor turns
		if err := measure(d.throughDoor(over), 1, &door); err != nil {
			return err
		}
		if err := measure(d.throughFloor(over), 1, &floor); err != nil {
			return err
		}
		name := fmt.Sprintf("%d viewers, %s: ", n, over)
		d.add(name+"CPU", fmt.Sprintf("%.3f s/Gbit", door.cost[0]), fmt.Sprintf("floor %.3f s/Gbit", floor.cost[0]), door.cost[0]/floor.cost[0], "")
		d.later(name, door, floor, "", "15 ms")
		d.loss(name, door, floor)
		if over == fanout.TCP {
			one.door, one.floor = door, floor
		}
	}
	if err := measure(d.throughDoor(fanout.TCP), cameras, &hundred.door); err != nil {
		return err
	}
	if err := measure(d.throughFloor(fanout.TCP), cameras, &hundred.floor); err != nil {
		return err
	}
	name := fmt.Sprintf("%d cameras with %d viewers each, TCP: ", cameras, n/cameras)
	for _, side := range []struct {
		name         string
		hundred, one turns
		goal         string
	}{{"CPU", hundred.door, one.door, "at most 1.30"}, {"CPU of the floor", hundred.floor, one.floor, "what the machine allows"}} {
		d.add(name+side.name, fmt.Sprintf("%.3f s/Gbit", side.hundred.cost[0]), fmt.Sprintf("1 camera with %d: %.3f s/Gbit", n, side.one.cost[0]), side.hundred.cost[0]/side.one.cost[0], side.goal)
	}
	d.add(name+"CPU beside the floor", fmt.Sprintf("%.3f s/Gbit", hundred.door.cost[0]), fmt.Sprintf("floor %.3f s/Gbit", hundred.floor.cost[0]), hundred.door.cost[0]/hundred.floor.cost[0], "")
	d.loss(name, hundred.door, hundred.floor)
	return nil
}
