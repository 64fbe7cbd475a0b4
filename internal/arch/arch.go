// Package arch holds the tests of the code's shape: who may import whom, and
// how long files and functions may be. docs/layout.md explains the rules.
package arch
