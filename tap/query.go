package tap

import (
	"net/url"
	"strconv"

	"github.com/cypherlink/cypherlink"
)

// defaultPage is how many records a page has if the reader does not say.
const defaultPage = 100

// pageQuery is what a reader asks of GET /v1/events.
type pageQuery struct {
	after uint64
	limit int
}

// parseNumber reads a decimal in its one form: no sign, no leading zero.
func parseNumber(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == text
}

// parseQuery reads the named parameters of a query, each at most once; anything else is a refusal.
func parseQuery(query string, names ...string) (map[string]string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, wrongParameter("The query is not one of name=value pairs.")
	}
	found := map[string]string{}
	for _, name := range names {
		if len(values[name]) > 1 {
			return nil, wrongParameter(name + " is given more than once.")
		}
		if len(values[name]) == 1 {
			found[name] = values[name][0]
		}
		delete(values, name)
	}
	if len(values) > 0 {
		return nil, wrongParameter("The query holds a parameter that is not known here.")
	}
	return found, nil
}

func wrongParameter(message string) error {
	return &cypherlink.Error{Code: CodeParameter, Message: message}
}

// parseAfter reads the parameter after, 0 if it is not there.
func parseAfter(found map[string]string) (uint64, error) {
	text, ok := found["after"]
	if !ok {
		return 0, nil
	}
	after, ok := parseNumber(text)
	if !ok {
		return 0, wrongParameter("after has to be the number of a record, or 0.")
	}
	return after, nil
}

func parsePage(query string) (pageQuery, error) {
	q := pageQuery{limit: defaultPage}
	found, err := parseQuery(query, "after", "limit")
	if err != nil {
		return q, err
	}
	if q.after, err = parseAfter(found); err != nil {
		return q, err
	}
	if text, ok := found["limit"]; ok {
		limit, ok := parseNumber(text)
		if !ok || limit < 1 || limit > MaxPage {
			return q, wrongParameter("limit has to be 1 to " + strconv.Itoa(MaxPage) + ".")
		}
		q.limit = int(limit)
	}
	return q, nil
}

// next is the path and query of the page that follows a record.
func (q pageQuery) next(number uint64) string {
	return "/v1/events?after=" + strconv.FormatUint(number, 10) + "&limit=" + strconv.Itoa(q.limit)
}

// parseResume tells after which record a stream begins: after the Last-Event-ID, which a reader
// who reconnects sends beside the query of the first time, or else as the query says.
func parseResume(query string, lastEventID []string) (uint64, error) {
	found, err := parseQuery(query, "after")
	if err != nil {
		return 0, err
	}
	after, err := parseAfter(found)
	if err != nil || len(lastEventID) == 0 || len(lastEventID) == 1 && lastEventID[0] == "" {
		return after, err
	}
	after, ok := parseNumber(lastEventID[0])
	if !ok || len(lastEventID) > 1 {
		return 0, wrongParameter("Last-Event-ID has to be the number of a record.")
	}
	return after, nil
}
