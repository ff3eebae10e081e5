// Package portal serves the web portal: pages for browsers, with forms that work without
// JavaScript.
//
// What people see and type belongs here: pages, words, cookies and the defence against
// forged requests. What they may do does not: the portal is a client of the REST API like
// any other, in the same process, and has no other way to the domain. A fault here allows
// nothing that the API refuses.
package portal
