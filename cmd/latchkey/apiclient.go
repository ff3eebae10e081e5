package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// apiClient calls the REST API as any app would.
type apiClient struct {
	host string
	http *http.Client
}

func newAPIClient(host string) *apiClient {
	return &apiClient{host: host, http: &http.Client{Timeout: demoTimeout}}
}

// problem is the API's response when it refuses (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Quota  string `json:"quota"`
}

func (p *problem) Error() string {
	return fmt.Sprintf("%s: %s (status %d)", p.Code, p.Detail, p.Status)
}

func hasCode(err error, code string) bool {
	var p *problem
	return errors.As(err, &p) && p.Code == code
}

// do makes one call and reads the response into out, unless that is nil. A refusal is a
// *problem.
func (c *apiClient) do(ctx context.Context, method, path, token string, body, out any) error {
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.host+"/api/v1"+path, payload)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode >= 300 {
		p := &problem{Status: res.StatusCode}
		_ = json.Unmarshal(raw, p) // a body that is not a problem document leaves the status
		return fmt.Errorf("%s %s: %w", method, path, p)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s: reading the response: %w", method, path, err)
	}
	return nil
}
