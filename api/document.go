package api

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"
)

// documentPath is where the OpenAPI document is served.
const documentPath = "/openapi.yaml"

// mount registers the server's operations on a router, with the check in front of them, and
// the document that describes them.
func (s *server) mount(router chi.Router) error {
	contracts := map[string]*contract{}
	a := humachi.New(router, configuration())
	a.UseMiddleware(enforce(contracts))
	s.register(a)
	doc := a.OpenAPI()
	delete(doc.Components.Schemas.Map(), "ErrorModel") // huma's own error, which no operation gives
	delete(doc.Components.Schemas.Map(), "ErrorDetail")
	if err := publish(doc); err != nil {
		return err
	}
	for _, op := range operations(doc) {
		c, err := newContract(doc.Components.Schemas, op)
		if err != nil {
			return err
		}
		contracts[op.OperationID] = c
	}
	yaml, err := doc.YAML()
	if err != nil {
		return fmt.Errorf("openapi document: %w", err)
	}
	router.Get(documentPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+yaml")
		if _, err := w.Write(yaml); err != nil {
			exchangeIn(r.Context()).cause = err // the client has gone
		}
	})
	return nil
}

// configuration is huma's, without what it serves of its own accord: no page that loads
// scripts from elsewhere, no links to schemas in the answers, no loose JSON.
func configuration() huma.Config {
	strict := huma.Format{
		Marshal: func(w io.Writer, v any) error { return json.MarshalWrite(w, v) },
		Unmarshal: func(b []byte, v any) error {
			return json.Unmarshal(b, v, json.RejectUnknownMembers(true))
		},
	}
	c := huma.DefaultConfig("CypherLink", "1.0.0")
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil
	c.Formats = map[string]huma.Format{jsonType: strict, problemType: strict}
	c.DefaultFormat = jsonType
	c.Transformers = []huma.Transformer{onlyProblems}
	c.Info.Description = "The REST interface of a bank's Connect and of a clearing bank's connector. " +
		"Every call needs a client certificate over TLS 1.3. Every refusal is an RFC 9457 problem whose " +
		"code never changes its meaning. Money is a decimal string beside its asset's label. JSON is " +
		"read strictly: unknown names, names twice, null and numbers for text are refused."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Servers = []*huma.Server{{URL: "/", Description: "The bank that serves this document."}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"certificate": {Type: "mutualTLS", Description: "A client certificate that the bank accepts."},
	}
	c.Security = []map[string][]string{{"certificate": {}}}
	c.Tags = []*huma.Tag{
		{Name: "payments", Description: "At a bank: instruct payments and trace them."},
		{Name: "channels", Description: "At a bank or a clearing bank: its channels."},
		{Name: "quotes", Description: "At a clearing bank: what a delivery costs."},
		{Name: "crossings", Description: "The institution's own money, onto the chain and back."},
		{Name: "operation", Description: "For those who run the process."},
	}
	return c
}

// operations are those of the document, in the order of their ids.
func operations(doc *huma.OpenAPI) []*huma.Operation {
	byID := map[string]*huma.Operation{}
	for _, at := range doc.Paths {
		for _, op := range []*huma.Operation{at.Get, at.Post} {
			if op != nil {
				byID[op.OperationID] = op
			}
		}
	}
	var all []*huma.Operation
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		all = append(all, byID[id])
	}
	return all
}

// publish writes into the document's schemas what this package says of them apart from the
// resources: what their formats stand for, the ISO reasons, which members exclude each other,
// and that answers may grow.
func publish(doc *huma.OpenAPI) error {
	schemas, asked := doc.Components.Schemas.Map(), map[string]bool{}
	for _, op := range operations(doc) {
		for _, p := range op.Parameters {
			applyFormat(p.Schema)
		}
		if op.RequestBody == nil {
			continue
		}
		for _, media := range op.RequestBody.Content {
			reach(doc.Components.Schemas, media.Schema, asked)
		}
	}
	for name, s := range schemas {
		if !asked[name] {
			s.AdditionalProperties = nil
		}
		if name == "Debtor" || name == "Creditor" {
			s.OneOf = []*huma.Schema{{Required: []string{"iban"}}, {Required: []string{"account"}}}
		}
		reasons := reasonsOf(name)
		for member, m := range s.Properties {
			applyFormat(m)
			if reason, ok := reasons[member]; ok {
				m.Extensions = map[string]any{reasonKey: reason}
				delete(reasons, member)
			}
		}
		if len(reasons) > 0 {
			return fmt.Errorf("reasons %v for what %s does not have: %w", reasons, name, errShape)
		}
	}
	return nil
}

// reach notes the names of a schema and of those within it.
func reach(r huma.Registry, s *huma.Schema, names map[string]bool) {
	if s.Ref != "" {
		names[path.Base(s.Ref)] = true
		s = r.SchemaFromRef(s.Ref)
	}
	for _, member := range s.Properties {
		reach(r, member, names)
	}
}

// applyFormat adds to a schema what its format stands for. A field may have an example of its
// own.
func applyFormat(s *huma.Schema) {
	switch s.Format {
	case "date-time":
		s.Examples = []any{"2026-11-24T09:30:00.123Z"}
	case "status":
		s.Enum = statuses()
	case "uri":
		s.Examples = []any{problemURN + string(CodeInvalid)}
	}
	f, ok := formatOf(s.Format)
	if !ok {
		return
	}
	s.Pattern, s.MaxLength = f.pattern, &f.length
	if s.Examples == nil {
		s.Examples = []any{f.example}
	}
}

// reasonsOf are the ISO reasons of faults in a schema's members (ExternalStatusReason): those
// that iso20022 and kyc give to the same in a pacs.008.
func reasonsOf(schema string) map[string]string {
	switch schema {
	case "Debtor":
		return map[string]string{
			"name": "BE08", "iban": "AC02", "account": "AC02", "country": "BE10", "town": "BE08",
			"lei": "BE15", "agent": "RC03",
		}
	case "Creditor":
		return map[string]string{
			"name": "BE22", "iban": "AC03", "account": "AC03", "country": "BE11", "town": "BE22",
			"lei": "BE15", "agent": "RC04",
		}
	case "Instruction":
		return map[string]string{
			"uetr": "FF01", "end_to_end_id": "FF08", "purpose": "FF07", "remittance": "RR07",
		}
	case "Money":
		return map[string]string{"asset": "AM11", "amount": "AM12"}
	case "ChannelRequest":
		return map[string]string{"peer": "RC01", "asset": "AM11"}
	case "ChannelAmount":
		return map[string]string{"amount": "AM12"}
	}
	return nil
}
