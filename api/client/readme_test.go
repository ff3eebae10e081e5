package client_test

import (
	"context"

	"latchkey/api/client"
)

func shareLiveView(ctx context.Context, server, login, password, device, neighbour string) error {
	service, err := client.New(server, client.Options{})
	if err != nil {
		return err
	}
	session, err := service.LogInWithResponse(ctx, client.Credentials{Login: login, Password: password})
	if err != nil {
		return err // a refusal is a *client.Error, with a stable Code and the invalid fields
	}
	_, err = service.As(session.JSON201.Token).CreateShareWithResponse(ctx,
		&client.CreateShareParams{IdempotencyKey: client.NewKey()}, // safe to repeat
		client.NewShare{
			Recipient: client.Recipient{Email: neighbour},
			Devices: []client.ShareDeviceGrants{{
				Device: device, Channels: []client.Grant{{Channel: 1, Privileges: []client.Privilege{"live_view"}}},
			}},
		})
	return err
}
