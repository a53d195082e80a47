package terms

var Paths = paths

const MaxWaiting = maxWaiting
