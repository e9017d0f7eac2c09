// Package policy keeps the repository's promises about itself as tests: what may
// import what, what is documented, what never appears.
package policy
