package node

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
)

// version is that of the server whose protocol this is.
const version = "24.10.0"

// features reports the capabilities of the node.
type features struct {
	serverfeatures.UnimplementedServerFeaturesServer
}

// GetSupportedMethods lists the methods. The names of services are in lower case, as the
// client compares them. Persistent subscriptions are listed, so that a client that uses
// them over gRPC gets Unimplemented instead of trying HTTP.
func (features) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	const streamsName = "event_store.client.streams.streams"
	const persistentName = "event_store.client.persistent_subscriptions.persistentsubscriptions"
	m := &serverfeatures.SupportedMethods{EventStoreServerVersion: version}
	add := func(service, method string, features ...string) {
		m.Methods = append(m.Methods, &serverfeatures.SupportedMethod{ServiceName: service, MethodName: method, Features: features})
	}
	for _, method := range []string{"append", "delete", "tombstone"} {
		add(streamsName, method)
	}
	add(streamsName, "read", "position", "events")
	for _, method := range []string{"create", "update", "delete", "read", "getinfo", "replayparked", "list", "restartsubsystem"} {
		add(persistentName, method, "stream", "all")
	}
	add("event_store.client.server_features.serverfeatures", "getsupportedmethods")
	return m, nil
}
