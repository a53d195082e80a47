package api

import "github.com/cypherlink/cypherlink/payment"

// A bank's Connect and a clearing bank's connector are what this package serves.
var (
	_ Payments  = (*payment.Connect)(nil)
	_ Documents = (*payment.Connect)(nil)
	_ Quotes    = (*payment.Clearing)(nil)
)
