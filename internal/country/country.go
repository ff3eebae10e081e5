// Package country lists the countries with their calling codes, for a form in which a
// number is entered, and writes numbers as people do.
package country

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// Country is a country, or a region with numbers of its own.
type Country struct {
	Code        string // ISO 3166-1 alpha-2
	CallingCode string // with +
	English     string
	German      string
}

// All lists all countries in the order of their codes.
var All = sync.OnceValue(func() []Country {
	english, german := display.English.Regions(), display.German.Regions()
	var list []Country
	for code := range phonenumbers.GetSupportedRegions() {
		region, err := language.ParseRegion(code)
		if err != nil || !region.IsCountry() {
			continue
		}
		list = append(list, Country{
			Code: code, CallingCode: "+" + strconv.Itoa(phonenumbers.GetCountryCodeForRegion(code)),
			English: english.Name(region), German: german.Name(region),
		})
	}
	slices.SortFunc(list, func(a, b Country) int { return cmp.Compare(a.Code, b.Code) })
	return list
})

// Formats returns a number in E.164 as it is written in its country and elsewhere; "" if
// it is not a number.
func Formats(e164 string) (national, international string) {
	if !strings.HasPrefix(e164, "+") {
		return "", ""
	}
	n, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return "", ""
	}
	return phonenumbers.Format(n, phonenumbers.NATIONAL), phonenumbers.Format(n, phonenumbers.INTERNATIONAL)
}
