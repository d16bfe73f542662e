// Package registry holds the commands about registries themselves: login, logout
// and search. One verb is one file.
package registry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/term"
	"github.com/spf13/cobra"

	"github.com/sampan-containers/sampan/cli/app"
	"github.com/sampan-containers/sampan/cli/client"
	"github.com/sampan-containers/sampan/cli/complete"
	"github.com/sampan-containers/sampan/cli/credential"
)

// maxSecret bounds a password; tokens of cloud registries have a few kilobytes.
const maxSecret = 64 << 10

type loginOptions struct {
	user, password string
	stdin          bool
}

// NewLogin makes `login`.
func NewLogin(a *app.App) *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:               "login [OPTIONS] [SERVER]",
		Short:             "Log in to a registry",
		Args:              app.RangeArgs(0, 1),
		ValidArgsFunction: complete.None,
		RunE: func(cmd *cobra.Command, args []string) error {
			server := ""
			if len(args) > 0 {
				server = args[0]
			}
			return login(cmd.Context(), a, &o, server, cmd.Flags().Changed("password"))
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.user, "username", "u", "", "User name")
	fs.StringVarP(&o.password, "password", "p", "", "Password or token")
	fs.BoolVar(&o.stdin, "password-stdin", false, "Read the password from standard input")
	return cmd
}

func login(ctx context.Context, a *app.App, o *loginOptions, server string, given bool) error {
	switch {
	case given && o.stdin:
		return errors.New("--password and --password-stdin are mutually exclusive")
	case o.stdin && o.user == "":
		return errors.New("must provide --username with --password-stdin")
	case given:
		fmt.Fprintln(a.Err.Text(), "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
	}
	stored, err := credential.Get(ctx, a, server)
	if err != nil {
		return err
	}
	if stored != nil && o.user == "" && o.password == "" {
		a.Println("Authenticating with existing credentials...")
		if err := try(ctx, a, stored); err == nil {
			a.Println("Login Succeeded")
			return nil
		} else if !isUnauthorized(err) {
			return err
		}
		a.Println("Login did not succeed, error: the stored login is refused")
	}
	l := &credential.Login{Username: o.user, Password: o.password, ServerAddress: credential.Key(server)}
	if err := ask(a, o, l, stored); err != nil {
		return err
	}
	if err := try(ctx, a, l); err != nil {
		return err
	}
	file, err := credential.Store(ctx, a, l)
	if err != nil {
		return fmt.Errorf("the login is right but cannot be kept: %w", err)
	}
	if file != "" {
		fmt.Fprintf(a.Err.Text(), "WARNING! Your password will be stored unencrypted in %s.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/engine/reference/commandline/login/#credentials-store\n\n", file)
	}
	a.Println("Login Succeeded")
	return nil
}

// try asks the daemon whether a login is right. An identity token that the
// registry gives takes the password's place.
func try(ctx context.Context, a *app.App, l *credential.Login) error {
	conn, err := a.Connect()
	if err != nil {
		return err
	}
	got, err := conn.RegistryLogin(ctx, client.RegistryLoginOptions{
		Username: l.Username, Password: l.Password, ServerAddress: l.ServerAddress, IdentityToken: l.IdentityToken, RegistryToken: l.RegistryToken,
	})
	if err == nil && got.Auth.IdentityToken != "" {
		l.Password, l.IdentityToken = "", got.Auth.IdentityToken
	}
	return err
}

// ask fills in what the flags left out.
func ask(a *app.App, o *loginOptions, l, stored *credential.Login) error {
	if o.stdin {
		raw, err := io.ReadAll(io.LimitReader(a.In, maxSecret))
		if err != nil {
			return err
		}
		l.Password = strings.TrimRight(string(raw), "\r\n")
		if l.Password == "" {
			return errors.New("the password on standard input is empty")
		}
		return nil
	}
	if l.Username != "" && l.Password != "" {
		return nil
	}
	if !a.In.IsTerminal() {
		return errors.New("cannot perform an interactive login from a non TTY device; use --username with --password-stdin")
	}
	in := bufio.NewReader(io.LimitReader(a.In, maxSecret))
	if l.Username == "" {
		known := ""
		if stored != nil && stored.Username != "" {
			known = " (" + stored.Username + ")"
		}
		fmt.Fprintf(a.Out.Text(), "Username%s: ", known)
		line, err := in.ReadString('\n')
		if err != nil && line == "" {
			return errors.New("no user name was given")
		}
		if l.Username = strings.TrimSpace(line); l.Username == "" && stored != nil {
			l.Username = stored.Username
		}
		if l.Username == "" {
			return errors.New("a non-null username is required")
		}
	}
	if l.Password == "" {
		if err := askPassword(a, in, l); err != nil {
			return err
		}
	}
	return nil
}

// askPassword reads a line without showing it.
func askPassword(a *app.App, in *bufio.Reader, l *credential.Login) error {
	fmt.Fprint(a.Out.Text(), "Password: ")
	state, err := term.SaveState(a.In.FD())
	if err != nil {
		return err
	}
	if err := term.DisableEcho(a.In.FD(), state); err != nil {
		return err
	}
	defer term.RestoreTerminal(a.In.FD(), state)
	line, err := in.ReadString('\n')
	a.Println("")
	if err != nil && line == "" {
		return errors.New("no password was given")
	}
	if l.Password = strings.TrimRight(line, "\r\n"); l.Password == "" {
		return errors.New("password is required")
	}
	return nil
}
