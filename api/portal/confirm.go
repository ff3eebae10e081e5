package portal

import "slices"

// confirmPage is the data of the page that asks before something ends.
type confirmPage struct {
	Path   string // where it was asked for, with the same form
	Back   string
	Ask    string // what ends
	Do     string // the words of the button
	Fields []formField
}

type formField struct{ Name, Value string }

// confirmed reports whether somebody has said that they are sure. If not, it has answered
// with a page that asks, and sends the same form again.
func (v *visit) confirmed(ask, do, back string) (bool, error) {
	if v.r.PostForm.Get("sure") == "yes" {
		return true, nil
	}
	p := confirmPage{Path: v.r.URL.Path, Back: back, Ask: ask, Do: do}
	var names []string
	for name := range v.r.PostForm {
		if name != "csrf" && name != "key" && name != "sure" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range v.r.PostForm[name] {
			p.Fields = append(p.Fields, formField{name, value})
		}
	}
	return false, v.page("confirm", v.t("confirm.title"), p)
}
