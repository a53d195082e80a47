package rules

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"github.com/cypherlink/cypherlink/kyc"
)

// ErrExpression means that an expression is not of the language of rules.
var ErrExpression = errors.New("rules: expression refused")

// Language names what gives expressions their meaning: the library, and the version of Unicode
// by which patterns know scripts and letters. It is part of every set's hash: under another
// language a set is another set.
const Language = "cel.dev/cel-go v0.33.2, Unicode 15.0.0"

// MaxCost bounds what one rule may cost, in CEL's units of about one comparison: the estimate
// when it is compiled, and the run.
const MaxCost = 10_000

// Bounds of one expression beside its length, far above what a person can review.
const (
	maxDepth   = 32
	maxPattern = 1_000 // instructions of a compiled regular expression
)

// newEnvironment is the language: variables, the functions of a subset of the standard library,
// bounds. Nothing in it reads a clock, draws a chance, converts a type or builds a text.
func newEnvironment() (*cel.Env, error) {
	subset := env.NewLibrarySubset().
		AddIncludedMacros(operators.All, operators.Exists).
		AddIncludedFunctions(
			function(operators.LogicalAnd), function(operators.LogicalOr), function(operators.LogicalNot),
			function(operators.Conditional), function(operators.NotStrictlyFalse),
			function(operators.Equals), function(operators.NotEquals),
			function(operators.In, overloads.InList),
			function(operators.Less, overloads.LessInt64),
			function(operators.LessEquals, overloads.LessEqualsInt64),
			function(operators.Greater, overloads.GreaterInt64),
			function(operators.GreaterEquals, overloads.GreaterEqualsInt64),
			function(operators.Add, overloads.AddInt64),
			function(operators.Subtract, overloads.SubtractInt64),
			function(operators.Multiply, overloads.MultiplyInt64),
			function(operators.Divide, overloads.DivideInt64),
			function(operators.Modulo, overloads.ModuloInt64),
			function(operators.Negate, overloads.NegateInt64),
			function(overloads.Size, overloads.SizeString, overloads.SizeStringInst),
			function(overloads.Contains), function(overloads.StartsWith), function(overloads.EndsWith),
			function(overloads.Matches),
		)
	return cel.NewCustomEnv(append(declarations(),
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.EagerlyValidateDeclarations(true),
		cel.ParserRecursionLimit(maxDepth),
		cel.RegexProgramSizeLimit(maxPattern),
		cel.CostModelVersion(1),
	)...)
}

// function names a function of the standard library, with some of its overloads or all.
func function(name string, ids ...string) *env.Function {
	f := &env.Function{Name: name}
	for _, id := range ids {
		f.Overloads = append(f.Overloads, &env.Overload{ID: id})
	}
	return f
}

// compile checks one expression and makes a program of it. It reports ErrExpression for what
// does not parse or check, is not boolean, leaves the language, or may cost too much.
func compile(e *cel.Env, expression string) (cel.Program, *ast.AST, error) {
	checked, issues := e.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrExpression, err)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, nil, fmt.Errorf("it is %s, not bool: %w", t, ErrExpression)
	}
	tree := checked.NativeRep()
	if err := checkTree(tree); err != nil {
		return nil, nil, err
	}
	estimate, err := e.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrExpression, err)
	}
	if estimate.Max > MaxCost {
		return nil, nil, fmt.Errorf("it may cost %d, at most %d: %w", estimate.Max, MaxCost, ErrExpression)
	}
	program, err := e.Program(checked, cel.CostLimit(MaxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrExpression, err)
	}
	return program, tree, nil
}

// checkTree refuses what the checker lets pass and a rule must not have: maps, messages, other
// types than bool, int, string and their lists, a pattern that is not written out (a party
// could choose it), and a bound name that hides a variable.
func checkTree(tree *ast.AST) error {
	roots := map[string]bool{}
	for _, v := range Variables() {
		root, _, _ := strings.Cut(v.Name, ".")
		roots[root] = true
	}
	var fault error
	refuse := func(format string, args ...any) {
		if fault == nil {
			fault = fmt.Errorf(format+": %w", append(args, ErrExpression)...)
		}
	}
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if t := tree.GetType(e.ID()); !isPlain(t) {
			refuse("it has a part of type %s", t)
		}
		switch e.Kind() {
		case ast.IdentKind, ast.LiteralKind, ast.ListKind:
		case ast.CallKind:
			call := e.AsCall()
			if args := call.Args(); call.FunctionName() == overloads.Matches &&
				args[len(args)-1].Kind() != ast.LiteralKind {
				refuse("the pattern of a match is not written out")
			}
		case ast.ComprehensionKind:
			if name := e.AsComprehension().IterVar(); roots[name] {
				refuse("%s hides a variable", name)
			}
		case ast.MapKind, ast.SelectKind, ast.StructKind, ast.UnspecifiedExprKind:
			refuse("it has a map, a message or a field of one")
		}
	}))
	return fault
}

func isPlain(t *types.Type) bool {
	if t.Kind() == types.ListKind {
		return len(t.Parameters()) == 1 && isPlain(t.Parameters()[0])
	}
	return t.IsExactType(cel.BoolType) || t.IsExactType(cel.IntType) || t.IsExactType(cel.StringType)
}

// sizes bounds the length of every variable that is a text, for the estimate of costs.
type sizes struct{}

// EstimateSize bounds what a variable can hold (cost.Estimator).
func (sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if len(node.Path()) == 0 || !node.Type().IsExactType(cel.StringType) {
		return nil
	}
	s := cost.RangedSizeEstimate(0, kyc.MaxName)
	return &s
}

// EstimateCallCost leaves functions to the standard estimate (cost.Estimator).
func (sizes) EstimateCallCost(_, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	return nil
}
