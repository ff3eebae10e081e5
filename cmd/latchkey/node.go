package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"latchkey/eventstore/node"
	"latchkey/internal/memory"
)

// nodeCommand runs the embedded EventStoreDB node alone, for several `serve`
// processes on one machine.
type nodeCommand struct {
	Data   string `env:"LATCHKEY_NODE_DATA" required:"" placeholder:"DIR" help:"Folder of the log."`
	Socket string `required:"" placeholder:"PATH" help:"Unix socket to listen on; only this user may connect."`

	MemoryLimit string `default:"auto" placeholder:"SIZE" help:"Limit on the memory of the process, such as 512MiB; auto: nine tenths of its cgroup's; off (${default})."`
	Logging     `embed:""`
}

// Run serves until the context ends.
func (c *nodeCommand) Run(ctx context.Context, std streams) error {
	limit, err := memory.Limit(c.MemoryLimit)
	if err != nil {
		return &configFaults{[]string{"--memory-limit: " + err.Error()}}
	}
	go memory.Keep(ctx, limit)
	logger := c.logger(std)
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("creating the log folder: %w", err)
	}
	n, err := startNode(c.Data, c.Socket, logger)
	if err != nil {
		return err
	}
	logger.Info("the node is ready", "socket", c.Socket)
	return n.wait(ctx)
}

// runningNode is an embedded node that serves on its socket.
type runningNode struct {
	node   *node.Node
	served chan error // its result is sent once, then it is closed
}

func startNode(dir, socket string, logger *slog.Logger) (*runningNode, error) {
	return serveNode(node.Config{Dir: dir, Logger: logger}, socket)
}

// startReader starts a node that accepts no writes and changes nothing in its folder.
func startReader(dir, socket string, logger *slog.Logger) (*runningNode, error) {
	return serveNode(node.Config{Dir: dir, Logger: logger, ReadOnly: true}, socket)
}

func serveNode(cfg node.Config, socket string) (*runningNode, error) {
	n, err := node.Open(cfg)
	if err != nil {
		return nil, err
	}
	l, err := node.Listen(socket)
	if err != nil {
		_ = n.Close() // the first error is the one to report
		return nil, err
	}
	r := &runningNode{node: n, served: make(chan error, 1)}
	go func() {
		defer close(r.served)
		r.served <- n.Serve(l)
	}()
	return r, nil
}

// wait returns when the context ends or the node fails.
func (r *runningNode) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return r.close()
	case err := <-r.served:
		_ = r.node.Close() // the first error is the one to report
		return fmt.Errorf("the node stopped: %w", err)
	}
}

func (r *runningNode) close() error {
	return errors.Join(r.node.Close(), <-r.served)
}
