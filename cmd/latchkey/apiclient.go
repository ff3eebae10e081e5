package main

import (
	"context"
	"net/http"

	"latchkey/api/client"
)

// apiClient calls the REST API as any app would.
type apiClient struct {
	host    string
	service *client.Service
}

// newAPIClient lets reads reflect what the service gives by itself: it must need no help
// to show an acknowledged command.
func newAPIClient(host string) *apiClient {
	service, err := client.New("http://"+host, client.Options{HTTP: &http.Client{Timeout: demoTimeout}, AnyPosition: true})
	if err != nil { // an address that was listened on
		panic(err)
	}
	return &apiClient{host: host, service: service}
}

func hasCode(err error, code string) bool { return client.HasCode(err, code) }

// do makes one call and reads the response into out, unless that is nil. A refusal is a
// *client.Error.
func (c *apiClient) do(ctx context.Context, method, path, token string, body, out any) error {
	return c.service.As(token).Call(ctx, method, path, body, out)
}
