// Package power is what runs in the virtual machine whose power is cut
// (test/vm/power.sh): a daemon that pulls, loads, commits and removes images on a
// disk of its own, and before that, after each cut, looks at what the last one left.
//
// It speaks to the script by lines on the console:
//
//	ACK name     an image was acknowledged
//	GONE name    it is about to be removed
//	HAVE name    after a start: it is there, was run, and all of its files are right
//	BAD text     something that must not be
//	WORKING      the cut may come
//	CLEAN        at the very end: nothing is left on the disk
package power
