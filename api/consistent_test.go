package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestEveryOperationKeepsItsPromises holds the specification against what it says of every
// operation: a command takes an Idempotency-Key and answers with Latchkey-Position, a list is
// {items, next}, a change of a share takes If-Match. The exceptions are of things that are
// not in the log, each with its reason.
func TestEveryOperationKeepsItsPromises(t *testing.T) {
	spec, err := openapi3.NewLoader().LoadFromData(specification)
	if err != nil {
		t.Fatal(err)
	}
	exceptions := map[string]string{
		"key revokeRegistrationInvitation":      "it is in the vault; again it finds nothing to do",
		"position revokeRegistrationInvitation": "it is in the vault, and in force at once",
		"key revokeInvitationCode":              "it is in the vault; again it finds nothing to do",
		"position revokeInvitationCode":         "it is in the vault, and in force at once",
		"key endDeviceViewer":                   "again it finds nothing to do",
		"position endDeviceViewer":              "what is permitted stays as it was",
		"key endSession":                        "it is in the vault; again it finds nothing to do",
		"position endSession":                   "it is in the vault, and in force at once",
		"key endOtherSessions":                  "it is in the vault; again it finds nothing to do",
		"position endOtherSessions":             "it is in the vault, and in force at once",
		"key logOut":                            "it is in the vault; again it finds nothing to do",
		"position logOut":                       "it is in the vault, and in force at once",
		"key createRegistrationInvitation":      "one too many can be revoked, and lapses",
		"position createRegistrationInvitation": "it is in the vault",
		"key logIn":                             "a session more can be ended, and lapses",
		"position logIn":                        "it is in the vault",
		"key requestPasswordReset":              "the next code replaces the one before",
		"position requestPasswordReset":         "it tells nothing about who has an account",
		"key confirmPasswordReset":              "a code is used once",
		"key acknowledgeAlarm":                  "it is in the vault; the first time counts",
		"position acknowledgeAlarm":             "it is in the vault",
		"key acknowledgeAlarms":                 "it is in the vault; the first time of each counts",
		"position acknowledgeAlarms":            "it is in the vault",
		"key unacknowledgeAlarm":                "again it finds nothing to do",
		"position unacknowledgeAlarm":           "it is in the vault",
		"key makeAlarmReceiver":                 "each call makes another key, in place of the one before",
		"position makeAlarmReceiver":            "it is in the vault, and in force at once",
		"key revokeAlarmReceiver":               "it is in the vault; again it finds nothing to do",
		"position revokeAlarmReceiver":          "it is in the vault, and in force at once",
		"key receiveAlarm":                      "devices send none; what is repeated is one alarm",
		"position receiveAlarm":                 "alarms are not in the log",
		"key addPushSubscription":               "the same browser is one subscription",
		"position addPushSubscription":          "it is in the vault",
		"key removePushSubscription":            "it is in the vault; again it finds nothing to do",
		"position removePushSubscription":       "it is in the vault, and in force at once",
		"pages listPushSubscriptions":           "an account has at most 32",
		"key testWebhook":                       "each call is a test",
		"position testWebhook":                  "nothing changes",
		"key logInByLink":                       "a link works once",
		"position logInByLink":                  "a session is in the vault",
		"key checkDevice":                       "nothing is kept",
		"position checkDevice":                  "nothing changes",
		"key searchDevices":                     "each call is a search",
		"position searchDevices":                "nothing changes",
		"position sendAddressCode":              "a code is in the vault",
		"position createInvitationCode":         "a code is in the vault",
		"position createOwnCode":                "a code is in the vault",
		"position requestAccess":                "it tells nothing about who has the device",
		"key movePTZ":                           "an order is for this moment",
		"position movePTZ":                      "an order to a camera is not in the log",
		"key movePTZBy":                         "an order is for this moment",
		"position movePTZBy":                    "an order to a camera is not in the log",
		"key movePTZTo":                         "an order is for this moment",
		"position movePTZTo":                    "an order to a camera is not in the log",
		"key movePTZToPreset":                   "an order is for this moment",
		"position movePTZToPreset":              "an order to a camera is not in the log",
		"key stopPTZ":                           "again it finds nothing to do",
		"position stopPTZ":                      "an order to a camera is not in the log",
		"key releasePTZ":                        "again it finds nothing to do",
		"position releasePTZ":                   "an order to a camera is not in the log",
		"key startWebRTCViewer":                 "each offer is of another viewer",
		"position startWebRTCViewer":            "a viewer is not in the log",
		"key startWebRTCTalker":                 "each offer is of another viewer",
		"position startWebRTCTalker":            "a viewer is not in the log",
		"key startHLSViewer":                    "each is another viewer",
		"position startHLSViewer":               "a viewer is not in the log",
		"key endHLSViewer":                      "again it finds nothing to do",
		"position endHLSViewer":                 "a viewer is not in the log",
		"key endWebRTCViewer":                   "again it finds nothing to do",
		"position endWebRTCViewer":              "a viewer is not in the log",
		"pages listPTZPresets":                  "a camera has a limited number",
		"pages listInvitationCodes":             "an account has at most 100",
		"pages listCountries":                   "all of them, which do not change",
		"pages listAddresses":                   "an account has at most 10",
		"pages listPresets":                     "all of them, a few",
		"pages listShareUses":                   "at most one for each share that was asked for",
		"pages listSessions":                    "an account has a limited number",
		"pages listRegistrationInvitations":     "an account has at most 20",
	}
	used := map[string]bool{}
	except := func(what, operation string) bool {
		used[what+" "+operation] = true
		return exceptions[what+" "+operation] != ""
	}
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			has := func(name string) bool {
				params := slices.Concat(item.Parameters, op.Parameters)
				return slices.ContainsFunc(params, func(p *openapi3.ParameterRef) bool { return p.Value.Name == name })
			}
			success := func(f func(status string, r *openapi3.Response)) {
				for status, r := range op.Responses.Map() {
					if strings.HasPrefix(status, "2") {
						f(status, r.Value)
					}
				}
			}
			if method != http.MethodGet {
				if !has("Idempotency-Key") && !except("key", op.OperationID) {
					t.Errorf("%s %s (%s) takes no Idempotency-Key", method, path, op.OperationID)
				}
				success(func(status string, r *openapi3.Response) {
					if r.Headers["Latchkey-Position"] == nil && !except("position", op.OperationID) {
						t.Errorf("%s %s (%s) answers %s without Latchkey-Position", method, path, op.OperationID, status)
					}
				})
				if strings.HasPrefix(path, "/api/v1/shares/{share}") && !has("If-Match") && !except("condition", op.OperationID) {
					t.Errorf("%s %s (%s) takes no If-Match", method, path, op.OperationID)
				}
				continue
			}
			if !strings.HasPrefix(op.OperationID, "list") {
				continue
			}
			success(func(_ string, r *openapi3.Response) {
				body := r.Content.Get("application/json").Schema.Value
				if body.Properties["items"] == nil || !slices.Contains(body.Required, "items") {
					t.Errorf("%s %s (%s) has no items", method, path, op.OperationID)
				}
				paged := has("cursor") && has("limit") && body.Properties["next"] != nil
				if !paged && !except("pages", op.OperationID) {
					t.Errorf("%s %s (%s) has no pages", method, path, op.OperationID)
				}
			})
		}
	}
	for name := range exceptions {
		if !used[name] {
			t.Errorf("%s is no exception", name)
		}
	}
}
