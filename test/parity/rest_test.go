package parity

import "testing"

func compareExec(t *testing.T, p *pair)          {}
func compareExitCodes(t *testing.T, p *pair)     {}
func compareWrongInput(t *testing.T, p *pair)    {}
func compareWrongRequests(t *testing.T, p *pair) {}
func compareEvents(t *testing.T, p *pair)        {}
