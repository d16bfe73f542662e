// Package terminal owns what the client does to the user's terminal: standard
// streams that know whether they are one, raw mode that is undone on every way
// out of the program, the detach keys, and the escaping of control bytes.
//
// Names, labels and error texts come from images and from other users. Printed
// raw they could move the cursor, rewrite earlier lines or type into the
// user's shell (SECURITY P6), so everything but a container's own stream goes
// to a terminal through Clean.
package terminal
