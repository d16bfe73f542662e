// Package value parses the values of Docker's flags: sizes, ports, mounts,
// networks, devices and the rest. Each type is a pflag.Value whose Type is the
// word that --help shows. Parsing follows docker/cli to the letter, since
// scripts depend on what is accepted; what the daemon must judge (does the
// image exist, is the address free) is left to the daemon.
package value
