// Package weak lets tests of attacks switch off one defence, to see that the attack
// succeeds without it: a test that cannot fail shows nothing. In every build but those
// with the tag "weakened" Off is false and costs nothing.
//
// A defence has the same name here and in test/ociruntime.
package weak
