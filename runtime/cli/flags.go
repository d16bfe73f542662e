package cli

import (
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

// flag is one option. Exactly one of set, text, list and number is where its value
// goes.
type flag struct {
	names  string // "detach d": long and short form
	set    *bool
	text   *string
	list   *[]string
	number *int
	about  string
	refuse string // why the option cannot be honoured
}

type flags []flag

// usageRequest is the "error" that --help gives.
type usageRequest struct{ flags flags }

func (*usageRequest) Error() string { return "help was asked for" }

func (f flags) find(name string) *flag {
	for i := range f {
		for n := range strings.FieldsSeq(f[i].names) {
			if n == name {
				return &f[i]
			}
		}
	}
	return nil
}

// parse takes the options out of args and returns the rest. As with runc, one
// dash is as good as two. Options may stand behind other arguments unless
// mixed is false: then the first argument ends them.
func (f flags) parse(args []string, mixed bool) (rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			return append(rest, args[1:]...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			if !mixed {
				return append(rest, args...), nil
			}
			rest = append(rest, arg)
			args = args[1:]
			continue
		}
		name, value, given := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		fl := f.find(name)
		if fl == nil && (name == "help" || name == "h") {
			return nil, &usageRequest{f}
		}
		if fl == nil {
			return nil, &wrongUsage{"there is no option " + strconv.Quote(arg), f}
		}
		args = args[1:]
		if fl.set == nil && !given {
			if len(args) == 0 {
				return nil, fault.New(fault.Invalid, "option %q needs a value", arg)
			}
			value, args = args[0], args[1:]
		}
		if err := fl.assign(arg, value, given); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func (fl *flag) assign(arg, value string, given bool) (err error) {
	switch {
	case fl.refuse != "" && (fl.set == nil || !given || value == "true"):
		return fault.New(fault.NotImplemented, "option %q: %s", arg, fl.refuse)
	case fl.set != nil:
		*fl.set = true
		if given {
			if *fl.set, err = strconv.ParseBool(value); err != nil {
				return fault.New(fault.Invalid, "option %q takes true or false", arg)
			}
		}
	case fl.number != nil:
		if *fl.number, err = strconv.Atoi(value); err != nil || *fl.number < 0 {
			return fault.New(fault.Invalid, "option %q takes a number, not %q", arg, value)
		}
	case fl.list != nil:
		*fl.list = append(*fl.list, value)
	case fl.text != nil:
		*fl.text = value
	}
	return nil
}

func (f flags) describe(b *strings.Builder) {
	for i := range f {
		fl := &f[i]
		long, short, _ := strings.Cut(fl.names, " ")
		value := ""
		if fl.set == nil {
			value = " value"
		}
		left := "--" + long + value
		if short != "" {
			left += ", -" + short + value
		}
		about := fl.about
		if fl.refuse != "" {
			about = "not supported: " + fl.refuse
		}
		column(b, left, about)
	}
}

// parse reads a verb's options and checks the number of its arguments; max -1 is
// any number.
func (c *call) parse(f flags, least, most int) ([]string, error) {
	rest, err := f.parse(c.args, true)
	if err != nil {
		return nil, err
	}
	if len(rest) < least || most >= 0 && len(rest) > most {
		text := c.verb + " takes exactly " + strconv.Itoa(least) + " argument(s), not " + strconv.Itoa(len(rest))
		switch {
		case len(rest) == 0 && least == 1:
			text = c.verb + " needs the id of a container"
		case least != most:
			text = c.verb + " takes from " + strconv.Itoa(least) + " to " + strconv.Itoa(most) + " arguments, not " + strconv.Itoa(len(rest))
		}
		return nil, &wrongUsage{text, f}
	}
	return rest, nil
}
