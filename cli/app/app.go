// Package app is what every command of the client has in common: the streams,
// the global flags, the configuration file, the connection to the daemon, and
// the way errors become text and exit codes.
//
// A command gets an *App from its constructor and asks it for a connection
// when it runs; building the command tree does no I/O.
package app

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/sampan-containers/sampan/cli/connect"
	"github.com/sampan-containers/sampan/cli/terminal"
)

// App carries one run of the client.
type App struct {
	// Name is how the program was called: "sampan", or "docker" through a link.
	Name string
	// Args is the command line without the program's name.
	Args []string
	In   *terminal.In
	Out  *terminal.Out
	Err  *terminal.Out
	// Term restores the terminal on every exit.
	Term *terminal.Guard
	// Global holds the flags before the command.
	Global Global
	// Completing is set while the shell asks for suggestions: nothing is
	// started then, and nothing printed.
	Completing bool
	// NoStart keeps a command from starting a daemon for its work.
	NoStart bool

	config func() *Config
	conn   func() (*connect.Conn, error)
}

// Global is the set of flags that stand before the command.
type Global struct {
	ConfigDir string
	Context   string
	Host      string
	LogLevel  string
	Debug     bool
	TLS       connect.TLS
	// Given tells which of these flags stood on the command line.
	Given func(flag string) bool
}

// New makes an App over the given streams.
func New(name string, in io.Reader, out, errw io.Writer) *App {
	a := &App{
		Name: name,
		In:   terminal.NewIn(in),
		Out:  terminal.NewOut(out),
		Err:  terminal.NewOut(errw),
		Term: &terminal.Guard{},
	}
	a.config = sync.OnceValue(func() *Config { return loadConfig(a) })
	a.conn = sync.OnceValues(a.connect)
	return a
}

// Config is the user's configuration file, read on first use.
func (a *App) Config() *Config { return a.config() }

// Connect returns the connection to the daemon; nothing is sent yet.
func (a *App) Connect() (*connect.Conn, error) { return a.conn() }

func (a *App) connect() (*connect.Conn, error) {
	if g := &a.Global; g.Given != nil {
		g.TLS.CASet, g.TLS.CertSet, g.TLS.KeySet, g.TLS.VerifySet = g.Given("tlscacert"), g.Given("tlscert"), g.Given("tlskey"), g.Given("tlsverify")
	}
	o := connect.Options{Host: a.Global.Host, TLS: a.Global.TLS, Headers: a.Config().HTTPHeaders, Notices: a.Err.Text(), NoStart: a.Completing || a.NoStart}
	if a.Global.Debug || a.Global.LogLevel == "debug" {
		o.Trace = a.Err.Text()
	}
	if err := a.useContext(&o); err != nil {
		return nil, err
	}
	return connect.New(o)
}

// PrintError writes err as a message to the user. A daemon that is not there
// gets the same text from every command, without the HTTP client's wrapping.
func (a *App) PrintError(err error) {
	fmt.Fprintln(a.Err.Text(), Message(err))
}

// Message is the text of err for people.
func Message(err error) string {
	var gone *connect.NoDaemonError
	if errors.As(err, &gone) {
		return gone.Error()
	}
	return strings.TrimRight(err.Error(), "\n")
}

// Println prints one line of output.
func (a *App) Println(line string) { fmt.Fprintln(a.Out.Text(), line) }
