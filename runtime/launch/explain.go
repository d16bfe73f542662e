package launch

// Action is a step of a program as a person would tell it: what is done, and the
// numbers of the system calls that do it, in order. Which of them are made may depend on
// the results of others.
type Action struct {
	What  string
	Calls []int
}

// Explain lists what the program does. Operations that are not system calls are left out.
func (p *Program) Explain() (list []Action) {
	last := -1
	for i := range p.ops {
		site := int(p.where[i])
		if p.ops[i].kind != opCall {
			continue
		}
		if site != last {
			list = append(list, Action{What: p.sites[site].What})
			last = site
		}
		a := &list[len(list)-1]
		a.Calls = append(a.Calls, int(p.ops[i].nr))
	}
	return list
}
