// Package snippets compiles the Go code in the documentation.
//
// A block that begins with "package" is compiled as it is. Any other is put into a
// function that has ctx and client, or at the top level if it begins with a
// declaration; packages that it names are imported. A block marked "go ignore" is
// left out.
package snippets
