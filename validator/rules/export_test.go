package rules

import "cel.dev/cel-go/interpreter"

// EvalWith compiles one expression and runs it over vars, which need not keep to the bounds of
// inputs: the run's own cost limit is what stops it.
func EvalWith(expression string, vars map[string]any) error {
	e, err := newEnvironment()
	if err != nil {
		return err
	}
	program, _, err := compile(e, expression)
	if err != nil {
		return err
	}
	activation, err := interpreter.NewActivation(vars)
	if err != nil {
		return err
	}
	_, _, err = program.Eval(activation)
	return err
}
