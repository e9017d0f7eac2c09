// Package recipe knows the brokers: where an installation of each is found on
// this machine, and which processes make one run on the loopback interface.
//
// A recipe starts nothing. It makes a [Plan], which package keeper carries out.
package recipe
